use super::log::{BaseWriter, Changes, Part, Place, Records, Replay, merge};
use super::served::SERVED_MAX;
use crate::octets::{Reader, Writer};

fn batch(records: &[(&str, Option<&str>)]) -> Records {
    let octets = |text: &str| text.as_bytes().to_vec();
    records.iter().map(|(key, value)| (octets(key), value.map(octets))).collect()
}

fn base(place: &Place, number: u64, records: &[(&str, &str)]) {
    let mut writer = BaseWriter::create(place, number, SERVED_MAX).unwrap();
    records.iter().for_each(|(key, value)| writer.push(key.as_bytes(), value.as_bytes()).unwrap());
    writer.finish().unwrap();
}

fn read_base(place: &Place, number: u64) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for part in [Part::Served, Part::Rest] {
        let base = super::log::Base::read(place, number, part).unwrap();
        for block in base.blocks() {
            let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
            found.extend(
                super::log::records(block).unwrap().map(|record| (text(record.key), text(record.value.unwrap()))),
            );
        }
    }
    found
}

#[test]
fn a_merged_base_holds_what_the_old_one_and_the_changes_did() {
    let directory = tempfile::tempdir().unwrap();
    let place = Place::new(directory.path());
    base(&place, 1, &[("\u{1}a", "1"), ("b", "2"), ("d", "4"), ("f", "6")]);
    let mut changes = Changes::create(&place, 1, 0).unwrap();
    changes.append(&batch(&[("b", Some("two")), ("c", Some("3")), ("d", None)])).unwrap();
    let mut next = Changes::create(&place, 2, changes.length).unwrap();
    next.append(&batch(&[("c", Some("three")), ("\u{1}a", Some("one")), ("g", Some("7")), ("e", None)])).unwrap();
    merge(&place, 1, 2, 3, SERVED_MAX).unwrap();
    let expected = [("\u{1}a", "one"), ("b", "two"), ("c", "three"), ("f", "6"), ("g", "7")];
    let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(read_base(&place, 3), expected);
}

#[test]
fn a_batch_that_was_cut_off_is_not_there_and_what_follows_goes_on_from_the_one_before() {
    let directory = tempfile::tempdir().unwrap();
    let place = Place::new(directory.path());
    let mut changes = Changes::create(&place, 1, 0).unwrap();
    changes.append(&batch(&[("a", Some("1"))])).unwrap();
    let whole = changes.length;
    changes.append(&batch(&[("a", Some("2"))])).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(directory.path().join("changes.1")).unwrap();
    file.set_len(changes.length - 1).unwrap();
    let replay = Replay::read(&place, 1, u64::MAX).unwrap();
    assert_eq!((replay.last, replay.last_length, replay.damage), (1, whole, None));
    let mut next = Changes::create(&place, 2, whole).unwrap();
    next.append(&batch(&[("b", Some("3"))])).unwrap();
    let replay = Replay::read(&place, 1, u64::MAX).unwrap();
    assert_eq!((replay.damage, replay.records.len()), (None, 2));
    // Had more of the first been there once, something would be missing.
    Changes::create(&place, 3, next.length + 1).unwrap();
    let replay = Replay::read(&place, 1, u64::MAX).unwrap();
    assert_eq!((replay.damage, replay.last), (Some(3), 2));
}

#[test]
fn a_base_without_changes_is_gone_on_from_by_both_bases() {
    let directory = tempfile::tempdir().unwrap();
    let place = Place::new(directory.path());
    base(&place, 1, &[("a", "1")]);
    let mut changes = Changes::create(&place, 1, 0).unwrap();
    changes.append(&batch(&[("a", Some("2"))])).unwrap();
    // The process ends when these two are merged, and nothing has changed since.
    merge(&place, 1, 1, 2, SERVED_MAX).unwrap();
    let replay = Replay::read(&place, 2, u64::MAX).unwrap();
    assert_eq!((replay.last, replay.last_length, replay.damage), (1, changes.length, None));
    let mut next = Changes::create(&place, replay.last + 1, replay.last_length).unwrap();
    next.append(&batch(&[("b", Some("3"))])).unwrap();
    for base in [1, 2] {
        let replay = Replay::read(&place, base, u64::MAX).unwrap();
        assert_eq!((replay.last, replay.damage), (2, None), "from base {base}");
    }
}

#[test]
fn numbers_are_read_as_they_were_written_and_lengths_are_not_believed() {
    for number in [0, 1, 127, 128, 16_383, 16_384, usize::MAX] {
        let mut to = Writer::new();
        to.count(number);
        assert_eq!(Reader::whole(&to.0, Reader::count), Some(number));
        assert_eq!(Reader(&to.0).octets().is_some(), number == 0, "there are no octets behind it");
    }
    assert_eq!(Reader(&[0xff; 12]).count(), None);
    assert_eq!(Reader(&[0xff, 0xff, 0x7f, 1]).list(Reader::u64), None);
    assert_eq!(Reader::whole(&[1, 0], Reader::flag), None, "something is left over");
}
