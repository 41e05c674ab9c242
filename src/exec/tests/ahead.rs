//! The rule of states: without a point, the state of one entity is that of now; what decides and what is kept goes by all that is recorded.

use super::*;

/// Plain and defined, whose states are kept: in memory, and in the tables.
fn each_way(check: impl Fn(&Session, bool)) {
    for (defined, memtable) in [(false, 100), (false, 2), (true, 100), (true, 2)] {
        let store = store(memtable);
        let session = Session::new(&store);
        if defined {
            session.rows("DEFINE ENTITY Plan ON deleted DELETE");
        }
        session.rows("EMIT Plan.made 1 {size: 1}");
        let notices = session.run("EMIT Plan.deleted 1 AT '2031-01-01'").unwrap().1;
        let told = "dated ahead, to 2031-01-01T00:00:00Z: AT Plan 1 leaves it out until then; REPLAY, FIND, verbs and EXPECT \
                    count all that is recorded, and so count it from now on";
        assert_eq!(notices, [told]);
        session.rows("CHECKPOINT");
        check(&session, defined);
    }
}

#[test]
fn a_state_without_a_point_is_that_of_now_and_says_what_it_leaves_out() {
    each_way(|session, defined| {
        let (made, deleted) = if defined { (2, 3) } else { (1, 2) };
        let ahead = format!(
            "1 event of Plan 1 is dated ahead, to 2031-01-01T00:00:00Z, and left out until then; by all that is recorded \
             (REPLAY) it is at version 2 through #{deleted}"
        );
        for (text, row) in [
            ("AT Plan 1", r#""version":1,"events":1,"state":{"size":1}}"#),
            ("BLAME Plan 1", r#"{"path":"size","value":1,"#),
            ("DIFF Plan 1 FROM START", r#"{"op":"replace","path":"","value":{"size":1}}"#),
        ] {
            let (rows, notices) = session.run(text).unwrap();
            assert!(serde_json::to_string(&rows).unwrap().contains(row), "{text}: {rows:?}");
            assert_eq!(notices.last(), Some(&ahead), "{text}");
            // It is what the same says of now.
            let now = if text.starts_with("DIFF") { format!("{text} TO NOW") } else { format!("{text} NOW") };
            let told =
                |rows: &[Row]| serde_json::to_string(rows).unwrap().replace(&format!(r#""at":"{NOW}","#), "");
            let (same, notices) = session.run(&now).unwrap();
            assert_eq!(told(&same), told(&rows), "{now}");
            assert!(!notices.contains(&ahead), "{now}");
        }
        // A place in the log is all up to there, and its end is all that is recorded.
        for point in [format!("#{deleted}"), "VERSION 2".to_owned(), "'2031-01-01'".to_owned()] {
            assert_eq!(state(&session.rows(&format!("AT Plan 1 {point}"))), "null", "{point}");
        }
        assert_eq!(state(&session.rows(&format!("AT Plan 1 #{made}"))), r#"{"size":1}"#);
        assert_eq!(state(&session.rows("REPLAY Plan 1")), "null");
        // What was known before it was recorded leaves nothing out.
        let (rows, notices) = session.run(&format!("AT Plan 1 AS OF #{made}")).unwrap();
        assert_eq!((state(&rows).as_str(), notices.len()), (r#"{"size":1}"#, 1), "{notices:?}");
    });
}

#[test]
fn what_decides_and_what_is_found_goes_by_all_that_is_recorded() {
    each_way(|session, _| {
        assert_eq!(session.lines("FIND Plan"), [""; 0]);
        assert_eq!(session.lines("FIND Plan GROUP BY target.type SELECT count()"), [""; 0]);
        assert_eq!(session.lines("FIND Plan AT NOW").len(), 1);
        assert!(session.error("EMIT Plan.grown 1 EXPECT EXISTS").contains("conflict"));
        assert!(session.error("EMIT Plan.grown 1 EXPECT VERSION 1").contains("found version 2"));
        session.rows("DEFINE VERB Grow ON Plan REQUIRE state.size > 0 EMIT grown {size: state.size + 1}");
        assert!(session.error("PERFORM Grow Plan 1").contains("refused"));
        assert!(session.lines("EXPLAIN PERFORM Grow Plan 1").join("").contains("would be refused"));
    });
}

#[test]
fn many_that_are_dated_ahead_are_told_of_once() {
    let store = store(4);
    let session = Session::new(&store);
    session.rows("EMIT Plan.made 1 {size: 1}");
    let notices = session
        .run("ATOMIC (EMIT Plan.grown 1 {size: 2} AT '2030-01-01'; EMIT Plan.grown 1 {size: 3} AT '2031-01-01')")
        .unwrap()
        .1;
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(
        notices[0]
            .starts_with("dated ahead, to 2030-01-01T00:00:00Z, as 1 more of this statement are: AT Plan 1")
    );
    // One that is late, and stands behind them, counts.
    session.rows("EMIT Plan.named 1 {name: 'a'} AT '2024-01-01'");
    let (rows, notices) = session.run("AT Plan 1").unwrap();
    assert_eq!(state(&rows), r#"{"size":1,"name":"a"}"#);
    let told = "2 events of Plan 1 are dated ahead, up to 2031-01-01T00:00:00Z, and left out until then; by all that is \
                recorded (REPLAY) it is at version 4 through #4";
    assert_eq!(notices.last().map(String::as_str), Some(told));
    // What has been met before is not told of again.
    session.rows("EMIT Plan.grown 2 AT '2031-01-01' KEY 'k'");
    assert_eq!(session.run("EMIT Plan.grown 2 AT '2031-01-01' KEY 'k'").unwrap().1, [""; 0]);
}
