//! DEFINE VIEW, READ, SUBSCRIBE VIEW: a view equals the query that it stands for.

mod naively;

use std::collections::BTreeMap;

use super::*;

/// Where a view is defined, and the keys of the groups that are kept of it.
fn kept_keys(store: &Store, name: &str) -> (crate::entity::Position, Vec<Vec<u8>>) {
    let position = store.snapshot().indexes().view(name).unwrap().position;
    let mut keys = Vec::new();
    let read = store.shared().tables.read().unwrap();
    read.each_group(position, |key, _| {
        keys.push(key.to_vec());
        Ok(())
    })
    .unwrap();
    (position, keys)
}

/// What a view is defined as.
fn view(session: &Session, name: &str, query: &str) {
    session.rows(&format!("DEFINE VIEW {name} AS {query}"));
}

fn by_hand(memtable: usize) -> Store {
    let mut options = Options::new();
    options.by_hand = true;
    options.index_slice = (3, 2);
    store_with(memtable, options)
}

fn paid(session: &Session, customer: &str, total: &str) {
    session.rows(&format!("EMIT Order.paid 1 {{customer: '{customer}', total: {total}}}"));
}

const REVENUE: &str = "EVENTS 'Order.paid' GROUP BY data.customer AS customer \
    SELECT sum(data.total) AS total, count() AS n HAVING count() > 0";

#[test]
fn a_view_of_groups_is_current_and_is_asked_by_its_columns() {
    let store = by_hand(3);
    let session = Session::new(&store);
    view(&session, "revenue", REVENUE);
    assert_eq!(session.lines("READ revenue"), Vec::<String>::new());
    for (customer, total) in [("b", "1"), ("a", "2"), ("b", "3.5"), ("c", "10"), ("a", "4")] {
        paid(&session, customer, total);
        assert_eq!(session.lines("READ revenue"), session.lines(REVENUE));
    }
    assert_eq!(
        session.lines("READ revenue WHERE total > 4 ORDER BY total DESC, customer LIMIT 2"),
        [r#"{"customer":"c","total":10,"n":1}"#, r#"{"customer":"a","total":6,"n":2}"#]
    );
    assert_eq!(
        session.lines("READ revenue SELECT customer AS who, total / n AS each ORDER BY each LIMIT 1"),
        [r#"{"who":"b","each":2.25}"#]
    );
    assert_eq!(session.lines("READ revenue AS OF #3"), session.lines(&format!("{REVENUE} AS OF #3")));
    settle(&store);
    store.checkpoint().unwrap();
    settle(&store);
    assert_eq!(session.lines("READ revenue"), session.lines(REVENUE));
    assert_eq!(session.lines("READ revenue AS OF #3"), session.lines(&format!("{REVENUE} AS OF #3")));
    assert!(session.lines("VERIFY")[0].starts_with(r#"{"ok":true"#));
    // Columns without a name are called by their text.
    view(&session, "kinds", "EVENTS GROUP BY type SELECT count(), max(data.total)");
    assert_eq!(
        session
            .lines("READ kinds WHERE count() > 1 AND type MATCHES 'Order.*' SELECT max(data.total) AS most"),
        [r#"{"most":10}"#]
    );
    // A type is matched as one, whatever it is called.
    view(&session, "types", "EVENTS 'Order.*' GROUP BY type AS t SELECT count() AS n");
    let found = session.lines("READ types WHERE t MATCHES 'Nothing.*, Order.*'");
    assert_eq!(found, session.lines("READ types"));
    assert_ne!(found, Vec::<String>::new());
    let asked =
        "EVENTS 'Order.*' GROUP BY type AS t SELECT count() AS n HAVING t MATCHES 'Nothing.*, Order.*'";
    assert_eq!(session.lines(asked), found);
}

#[test]
fn rows_are_events_or_columns_of_them() {
    let store = by_hand(3);
    let session = Session::new(&store);
    paid(&session, "a", "1");
    view(&session, "large", "EVENTS 'Order.*' WHERE data.total > 1");
    view(
        &session,
        "totals",
        "EVENTS 'Order.*' WHERE data.total > 1 SELECT data.customer AS who, data.total AS total",
    );
    for total in ["5", "1", "7", "2"] {
        paid(&session, "b", total);
    }
    for settled in [false, true] {
        assert_eq!(session.positions("READ large"), [4, 6, 7], "{settled}");
        assert_eq!(session.positions("READ large WHERE data.total < 7 ORDER BY data.total"), [7, 4]);
        assert_eq!(session.positions("READ large ORDER BY position DESC LIMIT 1"), [7]);
        assert_eq!(session.positions("READ large AS OF #5"), [4]);
        assert_eq!(session.lines("READ large SELECT data.total AS t LIMIT 1"), [r#"{"t":5}"#]);
        assert_eq!(
            session.lines("READ totals WHERE total > 2 ORDER BY total DESC"),
            [r#"{"who":"b","total":7}"#, r#"{"who":"b","total":5}"#]
        );
        assert_eq!(session.lines("READ totals SELECT total * 2 AS double LIMIT 1"), [r#"{"double":10}"#]);
        store.checkpoint().unwrap();
        settle(&store);
    }
    assert!(session.lines("EXPLAIN READ large").join("\n").contains("which rows it has is kept"));
    assert!(session.lines("VERIFY")[0].starts_with(r#"{"ok":true"#));
    // The index of a view is nobody's.
    assert_eq!(session.lines("SHOW INDEXES"), Vec::<String>::new());
    assert!(session.error("EVENTS BY large = TRUE").contains("no index answers it"));
    assert!(session.error("DROP INDEX large").contains("no index 'large' is defined"));
}

#[test]
fn entities_and_groups_of_them_are_views() {
    let store = by_hand(3);
    let session = Session::new(&store);
    assert!(
        session.error("DEFINE VIEW rich AS FIND Account WHERE state.balance > 5").contains("DEFINE ENTITY")
    );
    session.rows(
        "DEFINE ENTITY Account ON paid SET balance = coalesce(state.balance, 0) + data.n ON closed DELETE",
    );
    view(&session, "rich", "FIND Account WHERE state.balance > 5 AND target.id != 'x'");
    view(&session, "balances", "FIND Account SELECT target.id AS id, state.balance AS balance");
    view(
        &session,
        "sizes",
        "FIND Account GROUP BY state.balance > 5 AS rich SELECT count() AS n, sum(state.balance) AS sum",
    );
    for settled in [false, true] {
        for (id, n) in [("a", 3), ("b", 7), ("a", 4), ("x", 9), ("b", -5)] {
            session.rows(&format!("EMIT Account.paid {id} {{n: {n}}}"));
            for (read, query) in [
                ("READ rich", "FIND Account WHERE state.balance > 5 AND target.id != 'x'"),
                ("READ balances", "FIND Account SELECT target.id AS id, state.balance AS balance"),
                (
                    "READ sizes",
                    "FIND Account GROUP BY state.balance > 5 AS rich SELECT count() AS n, sum(state.balance) AS sum",
                ),
                (
                    "READ balances WHERE balance > 3 ORDER BY balance DESC LIMIT 2",
                    "FIND Account WHERE state.balance > 3 SELECT target.id AS id, state.balance AS balance ORDER BY balance DESC LIMIT 2",
                ),
                (
                    "READ sizes AS OF #5",
                    "FIND Account GROUP BY state.balance > 5 AS rich SELECT count() AS n, sum(state.balance) AS sum AS OF #5",
                ),
            ] {
                assert_eq!(session.lines(read), session.lines(query), "{read} settled {settled}");
            }
        }
        store.checkpoint().unwrap();
        settle(&store);
    }
    assert!(session.lines("EXPLAIN READ rich").join("\n").contains("from the index of the view rich"));
    assert!(session.lines("VERIFY")[0].starts_with(r#"{"ok":true"#));
}

#[test]
fn a_redefinition_is_built_behind_the_one_before_and_swapped_at_once() {
    let store = by_hand(3);
    let session = Session::new(&store);
    view(&session, "v", "EVENTS 'Order.*' SELECT count() AS n");
    for _ in 0..9 {
        paid(&session, "a", "1");
    }
    store.checkpoint().unwrap();
    settle(&store);
    view(&session, "v", "EVENTS 'Order.*' SELECT sum(data.total) AS sum");
    let state = |at: usize| {
        let lines = session.lines("SHOW VIEWS");
        let state = lines
            .get(at)
            .and_then(|line| line.split(r#""state":""#).nth(1)?.split('"').next())
            .map(str::to_owned);
        state.unwrap_or_default()
    };
    assert_eq!((state(0), state(1)), ("ready".to_owned(), "building".to_owned()));
    paid(&session, "a", "1");
    let (rows, notices) = session.run("READ v").unwrap();
    assert_eq!(serde_json::to_string(&rows[0]).unwrap(), r#"{"n":10}"#);
    assert!(notices.iter().any(|notice| notice.contains("until the one of #11 is complete")), "{notices:?}");
    settle(&store);
    assert_eq!(session.lines("READ v"), [r#"{"sum":10}"#]);
    assert_eq!((state(0), state(1)), ("ready".to_owned(), String::new()));
    let described = session.lines("DESCRIBE v");
    assert!(
        described[0].contains(r#""percent":100"#) && described[0].contains(r#""columns":["sum"]"#),
        "{described:?}"
    );
    session.rows("DROP VIEW v");
    assert!(session.error("READ v").contains("no view 'v' is defined"));
    settle(&store);
    let kept = store.shared().tables.read().unwrap().kept_definitions().unwrap();
    assert_eq!(kept, []);
}

#[test]
fn what_cannot_be_meant_is_told() {
    let store = by_hand(100);
    let session = Session::new(&store);
    session.rows("DEFINE ENTITY Order");
    session.rows("DEFINE INDEX customer ON 'Order.*' AS data.customer");
    session.rows("EMIT Order.paid 1 {total: 1}");
    view(&session, "revenue", REVENUE);
    for (text, message) in [
        ("DEFINE VIEW v AS EVENTS WHERE timestamp > NOW", "there is no NOW in it"),
        ("DEFINE VIEW v AS EVENTS SINCE -7d", "a view means the same at any time"),
        ("DEFINE VIEW v AS EVENTS LIMIT 3", "LIMIT is for whoever reads the view"),
        ("DEFINE VIEW v AS EVENTS LAST 3", "LAST in a view"),
        ("DEFINE VIEW v AS EVENTS ORDER BY data.x", "ORDER BY is for whoever reads the view"),
        ("DEFINE VIEW v AS EVENTS AS OF #1", "AS OF in a view"),
        ("DEFINE VIEW v AS FIND Order AT '2024-01-01'", "AT in a view"),
        ("DEFINE VIEW v AS FIND Ordr", "the states of Ordr are not kept"),
        ("DEFINE VIEW v AS EVENTS BY customer = 'a'", "WHERE data.customer says the same"),
        ("DEFINE VIEW Order AS EVENTS", "Order is a kind of entities"),
        ("DEFINE VIEW `$x` AS EVENTS", "the database's own"),
        ("DEFINE VIEW v AS EVENTS SINCE #99", "beyond the head"),
        ("DEFINE ENTITY revenue", "revenue"),
        ("DEFINE VERB revenue ON Order", "revenue"),
        ("READ revenu", "did you mean revenue?"),
        ("READ Order", "FIND Order reads them"),
        ("READ revenue WHERE totl > 1", "did you mean total?"),
        ("READ revenue WHERE data.total > 1", "the view revenue has no column 'data.total'"),
        ("READ revenue SELECT sum(total)", "it belongs in the definition"),
        ("READ revenue GROUP BY customer SELECT count()", "GROUP BY belongs in the definition"),
        ("READ revenue SINCE #1", "SINCE belongs in the definition"),
        ("READ revenue LAST 1", "LAST"),
        ("READ revenue SELECT total, total", "two columns are called total"),
        ("DROP VIEW revenu", "did you mean revenue?"),
        ("SUBSCRIBE VIEW revenue FROM START", "FROM"),
        ("SUBSCRIBE VIEW revenue AS x", "no place to keep"),
        (
            "DEFINE VIEW v AS EVENTS GROUP BY type AS removed SELECT count()",
            "tells by this name that a row is no more",
        ),
        ("DEFINE VIEW v AS EVENTS SELECT data.mark AS mark", "give the column another one with AS"),
        ("DEFINE VIEW v AS FIND Order SELECT state.n AS target", "which entity a row is of"),
        ("SUBSCRIBE VIEW nothing", "no view 'nothing' is defined"),
    ] {
        let error = session.error(text);
        assert!(error.contains(message), "{text}: {error}");
    }
    let mut session = Session::new(&store);
    session.parameters = Parameters::new().set("p", "Order.*").set("n", 1).set("since", "2020-01-01");
    session.rows("DEFINE VIEW v AS EVENTS $p BY actor = User 7 SINCE $since WHERE data.total >= $n");
    let text = store.snapshot().indexes().view("v").unwrap().text.clone();
    assert_eq!(
        text,
        "DEFINE VIEW v AS EVENTS 'Order.*' BY actor = User 7 WHERE data.total >= 1 SINCE 2020-01-01"
    );
}

#[test]
fn a_group_that_is_too_large_is_worked_out() {
    let store = by_hand(4);
    let session = Session::new(&store);
    let query = "EVENTS 'Order.*' GROUP BY data.customer AS c SELECT distinct(data.total) AS n, last(data.total) AS last";
    view(&session, "v", query);
    for n in 0..40 {
        paid(&session, "ab".get(n % 2..=n % 2).unwrap(), &n.to_string());
    }
    paid(&session, "a", &format!("'{}'", "x".repeat(300)));
    store.checkpoint().unwrap();
    settle(&store);
    assert!(
        store
            .snapshot()
            .kept_groups(store.snapshot().indexes().view("v").unwrap().position, |_| Ok(()))
            .unwrap()
            .is_none()
    );
    assert_eq!(session.lines("READ v"), session.lines(query));
    let (_, notices) = session.run("DESCRIBE v").unwrap();
    assert!(notices.iter().any(|notice| notice.contains("too large to be kept")), "{notices:?}");
    assert!(session.lines("VERIFY")[0].starts_with(r#"{"ok":true"#));
}

/// Of each event there is one group at most, and that is of so many bytes: so what a view takes of the file is bounded by the log.
#[test]
fn a_view_that_is_grouped_by_what_is_too_large_is_kept_no_further() {
    let store = by_hand(4);
    let session = Session::new(&store);
    // Of a short text, a long one.
    let twenty = ["data.customer"; 20].join(", ");
    let query = &format!("EVENTS 'Order.*' GROUP BY concat({twenty}) AS c SELECT count() AS n");
    view(&session, "v", query);
    let kept = || {
        let snapshot = store.snapshot();
        let position = snapshot.indexes().view("v").unwrap().position;
        (snapshot.kept_through(position).unwrap().unwrap(), snapshot.head())
    };
    for customer in ["a", "b", &"c".repeat(400)] {
        paid(&session, customer, "1");
    }
    store.checkpoint().unwrap();
    settle(&store);
    let (before, head) = kept();
    assert_eq!(before, head);
    paid(&session, &"c".repeat(410), "1");
    store.checkpoint().unwrap();
    settle(&store);
    // From there on nothing of it is kept.
    assert!(kept().0 <= before);
    assert_eq!(session.lines("READ v").len(), 4);
    assert_eq!(session.lines("READ v"), session.lines(query));
    let shown = session.lines("SHOW VIEWS");
    assert!(shown[0].contains(r#""state":"failed""#), "{shown:?}");
    assert!(shown[0].contains("grouped by: expected at most 8 KiB"), "{shown:?}");
    assert!(session.lines("VERIFY")[0].starts_with(r#"{"ok":true"#));
}

#[test]
fn damage_to_what_is_kept_never_stands_in_the_way() {
    let disk = Arc::new(MemoryDisk::new());
    let mut options = Options::new()
        .disk(disk)
        .memtable(4, 1 << 20)
        .journal_steps(4096, 8192)
        .with_compiler(Arc::new(crate::exec::Compiler))
        .clock(Clock::new(|| time(NOW)));
    options.by_hand = true;
    let open = || Store::open(Path::new("/shop.bygone"), options.clone()).unwrap();
    let store = Store::create(Path::new("/shop.bygone"), options.clone()).unwrap();
    let session = Session::new(&store);
    view(&session, "revenue", REVENUE);
    view(&session, "whole", "EVENTS SELECT count() AS n");
    for (customer, total) in [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4")] {
        paid(&session, customer, total);
    }
    store.checkpoint().unwrap();
    settle(&store);
    let (position, keys) = kept_keys(&store, "revenue");
    assert_eq!(keys.len(), 3);
    // Bytes that are no group, with a right checksum.
    store
        .shared()
        .tables
        .write("a test", |tables| tables.put_group(position, &keys[0], vec![0; 40]))
        .unwrap();
    store.close().unwrap();
    let store = open();
    let session = Session::new(&store);
    assert_eq!(session.lines("READ revenue"), session.lines(REVENUE));
    assert!(session.run("VERIFY").is_err());
    // A checkpoint goes on without it, and the background makes it anew.
    paid(&session, "a", "5");
    store.checkpoint().unwrap();
    assert_eq!(session.lines("READ revenue"), session.lines(REVENUE));
    // Other views are kept as if nothing were wrong.
    let (snapshot, head) = (store.snapshot(), store.snapshot().head());
    let whole = snapshot.indexes().view("whole").unwrap().position;
    assert_eq!(snapshot.kept_through(position).unwrap(), None);
    assert_eq!(snapshot.kept_through(whole).unwrap(), Some(head));
    settle(&store);
    assert!(session.lines("VERIFY")[0].starts_with(r#"{"ok":true"#));
    assert_eq!(store.snapshot().kept_through(position).unwrap(), Some(store.snapshot().head()));
}

#[test]
fn groups_that_are_too_much_for_a_stretch_are_kept_in_shorter_ones() {
    let mut options = Options::new().largest_value(64 << 10);
    options.by_hand = true;
    let store = store_with(32, options);
    let session = Session::new(&store);
    view(
        &session,
        "v",
        "EVENTS 'Order.paid' GROUP BY data.customer AS customer SELECT sum(data.total) AS total",
    );
    for n in 0..100 {
        paid(&session, &format!("{n:03}{}", "x".repeat(6000)), "1");
    }
    store.checkpoint().unwrap();
    settle(&store);
    let position = store.snapshot().indexes().view("v").unwrap().position;
    assert_eq!(store.snapshot().kept_through(position).unwrap(), Some(store.snapshot().head()));
    assert_eq!(session.lines("READ v").len(), 100);
}

/// A view of 400 groups and more, where a query may hold about fifty, and what it must tell.
fn larger_than_memory() -> (Store, Vec<String>) {
    let mut options = Options::new().query_memory(16 << 10);
    options.by_hand = true;
    options.index_slice = (64, 64);
    let store = store_with(32, options);
    let session = Session::new(&store);
    view(
        &session,
        "v",
        "EVENTS 'Order.paid' GROUP BY data.customer AS customer, type AS what \
         SELECT sum(data.total) AS total, last(data.total) AS last HAVING count() > 0",
    );
    let mut expected = BTreeMap::new();
    let mut pay = |customer: String, total: u64| {
        paid(&session, &customer, &total.to_string());
        let (sum, last) = expected.entry(customer).or_insert((0, 0));
        (*sum, *last) = (*sum + total, total);
    };
    (0..400).for_each(|n| pay(format!("k{n:03}"), n));
    store.checkpoint().unwrap();
    settle(&store);
    // Behind what is kept: of groups that there are, and others before, between and after them.
    for customer in ["a", "k007", "k0075", "k399", "z"] {
        pay(customer.to_owned(), 1000);
    }
    let line = |(customer, (total, last)): (String, (u64, u64))| {
        format!(r#"{{"customer":"{customer}","what":"Order.paid","total":{total},"last":{last}}}"#)
    };
    let lines = expected.into_iter().map(line).collect();
    (store, lines)
}

/// An instant is equal to each text that says it: those are several groups, which no key leads to.
#[test]
fn an_instant_is_no_key_of_groups_that_texts_are_the_keys_of() {
    let (store, _) = larger_than_memory();
    let session = Session::new(&store);
    ["2024-01-01", "2024-01-01T00:00", "2023-12-31T23:00-01:00"].iter().for_each(|at| {
        paid(&session, at, "1");
    });
    assert_eq!(session.lines("READ v WHERE customer = '2024-01-01' AND what = 'Order.paid'").len(), 1);
    assert_eq!(session.lines("READ v WHERE customer = 2024-01-01 AND what = 'Order.paid'").len(), 3);
}

/// A key that is an instant here and a text there: what is equal to one may be several groups.
#[test]
fn what_may_be_an_instant_is_no_one_key() {
    let (store, _) = larger_than_memory();
    let session = Session::new(&store);
    for (name, key) in [
        ("either", "coalesce(data.at, timestamp)"),
        ("chosen", "if(data.at IS NULL, timestamp, data.at)"),
        ("least", "least(data.at, timestamp)"),
    ] {
        let customers = "data.customer AS customer";
        view(
            &session,
            name,
            &format!(
                "EVENTS 'Order.paid' GROUP BY {key} AS at, {customers} SELECT count() AS n HAVING count() > 0"
            ),
        );
    }
    session.rows("EMIT Order.paid NEW {customer: 'x', total: 1} AT '2024-01-01'");
    session.rows("EMIT Order.paid NEW {customer: 'x', total: 1, at: '2024-01-01'} AT '2024-01-02'");
    store.checkpoint().unwrap();
    settle(&store);
    for name in ["either", "chosen"] {
        for at in ["'2024-01-01'", "2024-01-01"] {
            let text = format!("READ {name} WHERE at = {at} AND customer = 'x'");
            assert_eq!(session.lines(&text).len(), 2, "{text}: {:?}", session.lines(&text));
        }
    }
    let naive = |at: &str| {
        let of = session.lines("READ least WHERE customer = 'x'");
        of.iter().filter(|line| line.contains(at)).count()
    };
    assert_eq!(
        session.lines("READ least WHERE at = '2024-01-01' AND customer = 'x'").len(),
        naive("2024-01-01")
    );
}

#[test]
fn a_view_of_more_groups_than_fit_into_memory_is_read_group_by_group() {
    let (store, lines) = larger_than_memory();
    let session = Session::new(&store);
    let of = |customer: &str| {
        let begin = format!(r#"{{"customer":"{customer}""#);
        lines.iter().filter(|line| line.starts_with(&begin)).cloned().collect::<Vec<_>>()
    };
    for _ in 0..2 {
        for customer in ["k000", "k007", "k0075", "k200", "a", "z", "nobody"] {
            for text in [
                format!("READ v WHERE customer = '{customer}' AND what = 'Order.paid'"),
                format!("READ v WHERE 'Order.paid' = what AND customer = '{customer}' AND total >= 0"),
                format!("READ v WHERE customer = '{customer}'"),
                format!("READ v WHERE customer = '{customer}' ORDER BY total DESC LIMIT 3"),
            ] {
                assert_eq!(session.lines(&text), of(customer), "{text}");
            }
        }
        assert_eq!(
            session.lines("READ v WHERE customer = 'k007' AND what = 'Order.paid' AND total < 0"),
            [""; 0]
        );
        assert_eq!(session.lines("READ v WHERE customer = 'k007' AND what = 'other'"), [""; 0]);
        assert_eq!(session.lines("READ v LIMIT 1"), lines[..1]);
        assert_eq!(session.lines("READ v LIMIT 0"), [""; 0]);
        assert_eq!(session.lines("READ v"), lines);
        assert_eq!(
            session.lines("READ v WHERE last = 1000 ORDER BY total DESC, customer LIMIT 3"),
            [of("k399"), of("k007"), of("a")].concat()
        );
        assert_eq!(
            session.lines("READ v ORDER BY customer DESC LIMIT 2 SELECT customer AS c"),
            [r#"{"c":"z"}"#, r#"{"c":"k399"}"#]
        );
        // All of them in another order do not fit.
        assert!(session.error("READ v ORDER BY total").contains("--memory"));
    }
    let (rows, notices) = session.run("DESCRIBE v").unwrap();
    assert!(!rows.is_empty() && notices.iter().all(|notice| !notice.contains("too large")), "{notices:?}");
    assert!(session.lines("VERIFY")[0].starts_with(r#"{"ok":true"#));
}

#[test]
fn what_is_not_kept_of_a_view_of_many_groups_is_worked_out() {
    let (store, mut lines) = larger_than_memory();
    let session = Session::new(&store);
    // One that is too large to be kept, and one whose bytes are none.
    paid(&session, "k100", &format!("'{}'", "x".repeat(300)));
    store.checkpoint().unwrap();
    settle(&store);
    let long =
        format!(r#"{{"customer":"k100","what":"Order.paid","total":100,"last":"{}"}}"#, "x".repeat(300));
    lines[102] = long.clone();
    let (position, keys) = kept_keys(&store, "v");
    store
        .shared()
        .tables
        .write("a test", |tables| tables.put_group(position, &keys[50], vec![0; 40]))
        .unwrap();
    assert_eq!(session.lines("READ v"), lines);
    assert_eq!(session.lines("READ v WHERE customer = 'k100' AND what = 'Order.paid'"), [long]);
    assert_eq!(session.lines("READ v WHERE customer = 'k048' AND what = 'Order.paid'"), lines[50..51]);
    // VERIFY compares them range by range, and each fault is told once.
    let write = |key: &[u8], bytes: Vec<u8>| {
        store.shared().tables.write("a test", |tables| tables.put_group(position, key, bytes)).unwrap();
    };
    write(&keys[300], vec![1; 40]);
    write(&[&keys[200][..], b"x"].concat(), vec![0; 40]);
    let found = crate::store::verify::verify(&store.snapshot()).unwrap();
    let told = |what: &str| found.faults.iter().filter(|fault| fault.contains(what)).count();
    assert_eq!(found.faults.len(), 3, "{:?}", found.faults);
    assert_eq!((told("is not kept as its events make it"), told("and no event makes it")), (2, 1));
}
