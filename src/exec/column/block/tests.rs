//! Blocks are read again, joined, and refused where they are damaged.

use proptest::prelude::*;

use super::*;
use crate::plan::order::tests::any_datum;

fn float() -> impl Strategy<Value = f64> {
    prop_oneof![
        (-2000i32..2000).prop_map(|n| f64::from(n) / 10.0),
        (-2000i32..2000).prop_map(|n| f64::from(n) / 10_000.0),
        Just(-0.0),
        any::<f64>().prop_filter("finite", |x| x.is_finite()),
    ]
}

fn datum() -> impl Strategy<Value = Vec<Datum<'static>>> {
    let whole = |n: i128| Datum::Number(Number::Integer(n));
    let few = prop::collection::vec((-5i64..300).prop_map(move |n| whole(n.into())), 1..20);
    let far = prop::collection::vec(any::<i64>().prop_map(move |n| whole(n.into())), 1..20);
    let widest = prop::collection::vec(any::<u64>().prop_map(move |n| whole(n.into())), 1..20);
    let floats = prop::collection::vec(float().prop_map(|x| Datum::Number(Number::Float(x))), 1..20);
    let times = prop::collection::vec(
        (-4_000_000_000i64..8_000_000_000, prop_oneof![Just(0i32), 0..1_000_000_000])
            .prop_map(|(s, n)| Datum::Time(Timestamp::from_parts(s, n).unwrap())),
        1..20,
    );
    prop_oneof![few, far, widest, floats, times, prop::collection::vec(any_datum(), 1..20)]
}

prop_compose! {
    pub fn any_rows()(
        data in datum(),
        odd in prop::collection::vec(prop_oneof![4 => Just(None), 1 => Just(Some(true)), 1 => Just(Some(false))], 20),
        offsets in prop::sample::subsequence((0..SPAN as u16).collect::<Vec<_>>(), 20),
    ) -> Vec<ColumnRow> {
        let cells = data.into_iter().zip(odd).map(|(datum, odd)| match odd {
            None => cell(datum),
            Some(true) => Some(Datum::Null),
            Some(false) => None,
        });
        offsets.into_iter().zip(cells).collect()
    }
}

fn text(rows: &[ColumnRow]) -> String {
    format!("{rows:?}")
}

proptest! {
    #[test]
    fn a_block_is_read_again(rows in any_rows()) {
        let bytes = encode(&rows).unwrap();
        let block = ColumnBlock::decode(&bytes).unwrap();
        prop_assert_eq!(text(&block.cells().unwrap()), text(&rows));
        let other = block.meaning.other();
        for (code, (_, cell)) in block.codes().unwrap().into_iter().zip(&rows) {
            prop_assert_eq!(other == Some(code), cell.is_none());
        }
        prop_assert!(ColumnBlock::decode(&bytes[..bytes.len() - 1]).is_none());
    }

    /// Wherever it is cut in two.
    #[test]
    fn parts_join_to_the_whole(rows in any_rows(), at in any::<prop::sample::Index>()) {
        let whole = encode(&rows).unwrap();
        let cut = at.index(rows.len());
        if cut > 0 {
            let (before, after) = rows.split_at(cut);
            prop_assert_eq!(join(&encode(before).unwrap(), &encode(after).unwrap()).unwrap(), whole);
            prop_assert!(join(&encode(after).unwrap(), &encode(before).unwrap()).is_err());
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        rows in any_rows(),
        bytes in prop::collection::vec(any::<u8>(), 0..80),
        changed in any::<prop::sample::Index>(),
        to in any::<u8>(),
    ) {
        let read = |bytes: &[u8]| ColumnBlock::decode(bytes).and_then(|block| block.cells());
        read(&bytes);
        let mut near = encode(&rows).unwrap();
        let at = changed.index(near.len());
        near[at] = to;
        read(&near);
    }
}

/// A block of one row, with these entries.
fn dictionary_of(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = vec![0, 1, NUMBERS, 0, DICTIONARY, 0, entries.len() as u8];
    bytes.extend(entries.concat());
    bytes.extend(0u32.to_be_bytes());
    bytes
}

#[test]
fn a_dictionary_has_what_events_can_have_each_once_and_in_order() {
    let entry = |datum: Datum| {
        let mut bytes = Vec::new();
        encoded::put(&datum, &mut bytes).unwrap();
        bytes
    };
    let integer = |n: i128| entry(Datum::Number(Number::Integer(n)));
    let float = |x: f64| entry(Datum::Number(Number::Float(x)));
    let is_one = |entries: &[Vec<u8>]| ColumnBlock::decode(&dictionary_of(entries)).is_some();
    let other = vec![OTHER];
    assert!(is_one(&[integer(1), float(1.0), other.clone()]));
    assert!(is_one(&[integer(u64::MAX.into())]) && is_one(std::slice::from_ref(&other)));
    for entries in [
        vec![integer(i128::from(u64::MAX) + 1)],
        vec![integer(i128::from(i64::MIN) - 1)],
        vec![float(f64::NAN)],
        vec![float(f64::INFINITY)],
        vec![entry(Datum::Span(1))],
        vec![entry(Datum::Text("x".repeat(LONGEST + 1).into()))],
        vec![other.clone(), other.clone()],
        vec![other, integer(1)],
        vec![integer(1), integer(1)],
        vec![integer(2), integer(1)],
    ] {
        assert!(!is_one(&entries), "{entries:?}");
    }
}

#[test]
fn what_repeats_or_is_near_takes_few_bits() {
    let rows = |cell: &dyn Fn(u16) -> Datum<'static>| -> Vec<ColumnRow> {
        (0..SPAN as u16).map(|n| (n, Some(cell(n)))).collect()
    };
    let bytes = |rows: Vec<ColumnRow>| encode(&rows).unwrap().len();
    let span = SPAN as usize;
    // Offsets take a bit each, and numbers up to 31 five.
    let integers = bytes(rows(&|n| Datum::Number(Number::Integer(1_000_000 + i128::from(n % 32)))));
    assert_eq!(integers, 2 + 1 + span / 8 + 1 + 2 + 16 + 4 + span * 5 / 8);
    let minutes = bytes(rows(&|n| Datum::Time(Timestamp::from_millis(i64::from(n % 32) * 60_000))));
    assert_eq!(minutes, integers);
    let decimals = bytes(rows(&|n| Datum::Number(Number::Float(f64::from(n % 32) / 100.0))));
    assert_eq!(decimals, integers);
    let texts = bytes(rows(&|n| Datum::Text(["EWR", "LGA", "JFK"][usize::from(n % 3)].into())));
    assert_eq!(texts, 2 + 1 + span / 8 + 1 + 2 + 3 * 12 + 4 + span * 2 / 8);
}
