//! What charts look like.

use super::*;

fn fields(rows: &[&str]) -> Vec<Arc<Object>> {
    let fields = |row: &&str| match row.parse().unwrap() {
        Value::Object(fields) => Arc::new(fields),
        other => panic!("{other}"),
    };
    rows.iter().map(fields).collect()
}

fn chart(rows: &[&str], width: usize) -> String {
    drawn(&fields(rows), width, false).unwrap().iter().map(|line| format!("{line}\n")).collect()
}

/// All that the renderer writes of statements.
fn rendered(statements: &[Vec<Arc<Object>>]) -> String {
    let terminal =
        Terminal { input: false, output: false, errors: false, output_colors: false, error_colors: false };
    let (mut chart, mut out) = (Chart::new(&terminal), Vec::new());
    for (n, rows) in statements.iter().enumerate() {
        chart.begin(n + 1, &mut out).unwrap();
        for row in rows {
            chart.row(&Row::Fields(row.clone()), &mut out).unwrap();
            assert!(chart.held.len() <= MOST && chart.bytes <= LARGEST);
        }
        chart.end(&mut out).unwrap();
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn a_group_is_a_label_a_bar_and_a_number() {
    let rows = [r#"{"type":"paid","n":16}"#, r#"{"type":"refunded","n":3}"#, r#"{"type":"lost","n":0}"#];
    assert_eq!(chart(&rows, 30), "paid     ██████████████████ 16\nrefunded ███▍ 3\nlost     0\n");
}

#[test]
fn several_numbers_stand_below_the_label_and_each_has_its_own_scale() {
    let rows = [r#"{"type":"a","n":2,"total":1000}"#, r#"{"type":"b","n":1,"total":null}"#];
    assert_eq!(
        chart(&rows, 21),
        "a\n  n     ████████ 2\n  total ████████ 1000\nb\n  n     ████ 1\n  total null\n"
    );
}

#[test]
fn numbers_below_zero_go_left() {
    let rows = [r#"{"k":"a","n":4}"#, r#"{"k":"b","n":-2}"#, r#"{"k":"c","n":0}"#, r#"{"k":"d","n":null}"#];
    assert_eq!(chart(&rows, 18), "a    │██████ 4\nb ███│ -2\nc    │ 0\nd    │ null\n");
}

#[test]
fn labels_are_cut_to_a_third_and_obey_nothing() {
    let rows = [r#"{"k":"東京都千代田区","n":2}"#, r#"{"k":"a\u001b[2J\u202e\nb","n":1}"#];
    assert_eq!(chart(&rows, 24), "東京都…  █████████████ 2\na\\u001b… ██████▌ 1\n");
    let rows = [r#"{"k":"東京","n":2}"#, r#"{"k":"a","n":1}"#];
    assert_eq!(chart(&rows, 15), "東京 ████████ 2\na    ████ 1\n");
    let rows = [r#"{"k":"a","x\u001b[2J":2,"y":1}"#];
    assert!(!chart(&rows, 60).contains('\u{1b}'));
}

#[test]
fn any_numbers_are_drawn_in_any_width() {
    let numbers = [
        Value::Float(f64::MAX),
        Value::Float(f64::MIN),
        Value::Float(5e-324),
        Value::Float(f64::NAN),
        Value::Float(f64::INFINITY),
        Value::Float(-0.0),
        Value::Int(i64::MIN),
        Value::UInt(u64::MAX),
        Value::Null,
    ];
    let row = |number: &Value| {
        let mut row = Object::new();
        row.insert("k".to_owned(), Value::Text("k".to_owned()));
        row.insert("n".to_owned(), number.clone());
        Arc::new(row)
    };
    for from in 0..numbers.len() {
        for to in from + 1..=numbers.len() {
            let rows: Vec<_> = numbers[from..to].iter().map(row).collect();
            let longest =
                numbers[from..to].iter().map(|number| Cell::shown(number).text.len()).max().unwrap();
            for width in 0..100 {
                let Some(lines) = drawn(&rows, width, false) else {
                    assert_eq!((from, to), (8, 9));
                    continue;
                };
                assert_eq!(lines.len(), rows.len());
                // A number is never cut, and a bar has something, however narrow it gets.
                let most = width.max("k ".len() + LEAST + GAP + longest);
                lines.iter().for_each(|line| assert!(line.width() <= most, "{line:?} in {width}"));
            }
        }
    }
    let rows: Vec<_> = numbers[..3].iter().map(row).collect();
    let lines = drawn(&rows, 40 + Cell::shown(&numbers[0]).text.len(), false).unwrap();
    assert!(
        lines[0].contains("│█████") && lines[1].contains("█████│ -") && lines[2].contains("│▏ "),
        "{lines:?}"
    );
}

#[test]
fn what_is_no_number_is_the_label() {
    let rows = [r#"{"n":2,"kind":"a","at":null,"who":"x"}"#, r#"{"n":1,"kind":"b","at":null,"who":"y"}"#];
    assert_eq!(chart(&rows, 40), "a, null, x ███████████████████████████ 2\nb, null, y █████████████▌ 1\n");
    // Where all are numbers, the first is; a number alone has none.
    assert_eq!(
        chart(&[r#"{"year":2024,"n":4}"#, r#"{"year":2025,"n":2}"#], 14),
        "2024 ███████ 4\n2025 ███▌ 2\n"
    );
    assert_eq!(chart(&[r#"{"n":4}"#], 10), "████████ 4\n");
    // A column that comes later has nothing in the rows before.
    assert_eq!(chart(&[r#"{"k":"a"}"#, r#"{"k":"b","n":1}"#], 10), "a\nb ██████ 1\n");
}

#[test]
fn charts_stand_apart_and_what_has_no_number_is_a_table() {
    let numbers = fields(&[r#"{"k":"a","n":1}"#]);
    let texts = fields(&[r#"{"k":"a","n":1}"#, r#"{"k":"b","n":"x"}"#]);
    let bar = "█".repeat(76);
    let table = "k  n\n─  ─\na  1\nb  x\n";
    assert_eq!(
        rendered(&[numbers.clone(), texts, Vec::new(), numbers]),
        format!("a {bar} 1\n\n{table}\na {bar} 1\n")
    );
    assert_eq!(rendered(&[Vec::new()]), "");
}

#[test]
fn more_rows_than_are_held_are_a_table() {
    let row = fields(&[r#"{"k":"a","n":1}"#]).remove(0);
    assert_eq!(rendered(&[vec![row.clone(); MOST]]).lines().count(), MOST);
    let shown = rendered(&[vec![row; MOST + 1]]);
    assert!(shown.starts_with("k  n\n─  ─\na  1\n"));
    assert_eq!(shown.lines().count(), MOST + 3);
    let large = format!(r#"{{"k":"{}","n":1}}"#, "x".repeat(LARGEST / 4));
    let shown = rendered(&[fields(&[large.as_str(); 5])]);
    assert_eq!(shown.lines().count(), 5 + 2);
}
