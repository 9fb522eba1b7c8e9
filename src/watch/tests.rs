//! Files that change under us: the rules with time as a field, then the owner task with real events.

use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use tempfile::TempDir;

use super::scan::{Progress, Sight};
use super::*;
use crate::control::{Hash, Mark};
use crate::registry::FileChange;
use crate::spec::Document;

/// A directory, its files, and a clock that the test turns.
struct Bench {
    files: Files,
    /// What was renewed when files were last looked at.
    renewed: Vec<Arc<str>>,
    now: Now,
    dir: TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // The wall clock stands long after every file's time: at the first scan, all have stood a while.
        let now = Now { monotonic: Duration::from_secs(100), wall: 99_999_999_999 };
        Self { files: Files::new(dir.path(), Keep::Yaml), renewed: Vec::new(), now, dir }
    }

    /// A bench that has taken `files` in.
    fn with(files: &[(&str, &str)]) -> Self {
        let mut bench = Self::new();
        for (file, text) in files {
            bench.write(file, text);
        }
        bench.scan();
        assert_eq!(bench.due().len(), files.len());
        // From now on no file has stood a while.
        bench.now.wall = 0;
        bench
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    fn write(&self, file: &str, text: &str) {
        fs::create_dir_all(self.path(file).parent().unwrap()).unwrap();
        fs::write(self.path(file), text).unwrap();
    }

    fn scan(&mut self) {
        let tour = Tour::begin("", &mut self.files);
        self.scan_on(tour, usize::MAX);
    }

    /// Goes on with a scan to its end, so many names a step.
    fn scan_on(&mut self, mut tour: Tour, names: usize) {
        loop {
            match tour.go_on(&mut self.files, names, &mut |_, _, _| {}) {
                Ok(Progress::Begun) => {}
                Ok(Progress::Done) => break,
                Err(error) => return self.files.lost(&error),
            }
        }
        self.files.found(tour.found(&self.files), "", Told::ByScan, &HashSet::new(), self.now);
    }

    fn mark(&mut self, file: &str, mark: Mark) {
        self.files.mark(&Arc::from(file), mark, self.now.monotonic);
    }

    fn write_and_mark(&mut self, file: &str, text: &str, mark: Mark) {
        self.write(file, text);
        self.mark(file, mark);
    }

    fn due(&mut self) -> Vec<String> {
        let due = self.files.due(self.now);
        // Nothing is held here.
        let missing = self.files.missing().keys().cloned().collect();
        let removed = self.files.believe(missing);
        self.renewed = due.renewed;
        due.changes.iter().chain(&removed).map(told).collect()
    }

    /// What changes when so many milliseconds have passed.
    fn after(&mut self, milliseconds: u64) -> Vec<String> {
        self.now.monotonic += Duration::from_millis(milliseconds);
        self.due()
    }

    fn report(&self, file: &str) -> FileReport {
        self.files.reports().get(file).unwrap_or_else(|| panic!("{file} has no report")).clone()
    }

    /// Whether this is the last good version of a file.
    fn is_good(&self, file: &str, text: &str) -> bool {
        self.files.good(file) == Some(Hash::of(text.as_bytes()))
    }
}

fn told(change: &FileChange) -> String {
    let Some(content) = &change.content else { return format!("{} gone", change.file) };
    let apps = content.documents.iter().map(|document| match &*document {
        Document::App(app) => String::from_utf8_lossy(app.app.value.octets()).into_owned(),
        Document::Space(space) => space.name.value.clone(),
        Document::Topology(_) => "topology".to_owned(),
        Document::BrokenSpace => "broken space".to_owned(),
        Document::Unread => "unread".to_owned(),
    });
    format!("{} {}", change.file, apps.collect::<Vec<_>>().join(","))
}

const SHOP: &str = "name: shop\n";

fn registration(address: u32) -> String {
    let address = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + address));
    format!(r#"{{"app": "shop", "component": "web", "number": 1, "address": "{address}"}}"#)
}

const NOTHING: [&str; 0] = [];

#[test]
fn many_files_are_taken_as_one_is() {
    let mut bench = Bench::new();
    for number in 0..600 {
        bench.write(&format!("{number:03}.json"), &registration(number));
    }
    bench.write("300.json", "{");
    bench.scan();
    fs::remove_file(bench.path("301.json")).unwrap();
    let expected: Vec<String> =
        (0..600).filter(|number| ![300, 301].contains(number)).map(|number| format!("{number:03}.json shop")).collect();
    assert_eq!(bench.due(), expected);
    assert!(bench.is_good("599.json", &registration(599)));
    assert_eq!(bench.report("300.json").state, FileState::Rejected);
    assert!(!bench.files.reports().contains_key("301.json"));
}

#[test]
fn files_count_by_their_names_at_any_depth() {
    let mut bench = Bench::new();
    for file in ["a.yaml", "b/c/d.yml", "e.json", "f.yaml/g.yaml"] {
        bench.write(file, SHOP);
    }
    bench.write("e.json", &registration(1));
    for file in [".hidden.yaml", ".tmp/a.yaml", "..2026/a.yaml", "a.yaml~", "a.yaml.tmp", "README.md", "yaml"] {
        bench.write(file, "not: [read\n");
    }
    bench.scan();
    assert_eq!(bench.due(), ["a.yaml shop", "b/c/d.yml shop", "e.json shop", "f.yaml/g.yaml shop"]);
    assert_eq!(bench.files.reports().len(), 4);
}

#[test]
fn what_is_renamed_into_place_is_taken_at_once() {
    let mut bench = Bench::with(&[("shop.yaml", SHOP)]);
    bench.write_and_mark("shop.yaml", "name: other\n", Mark::Placed);
    assert_eq!(bench.due(), ["shop.yaml other"]);
}

#[test]
fn who_is_told_of_a_change_shares_the_path_that_is_known() {
    let mut bench = Bench::with(&[("web-1.json", &registration(1))]);
    bench.write_and_mark("web-1.json", &registration(2), Mark::Placed);
    let due = bench.files.due(bench.now);
    let known = bench.files.paths().next().unwrap();
    // There may be a hundred thousand, and each changes one day.
    assert!(Arc::ptr_eq(&due.changes[0].file, known));
}

#[test]
fn json_is_taken_when_its_writer_closes_it_and_yaml_after_a_little_quiet() {
    let mut bench = Bench::with(&[]);
    bench.write_and_mark("web.json", &registration(1), Mark::Closed);
    bench.write_and_mark("shop.yaml", SHOP, Mark::Closed);
    assert_eq!(bench.due(), ["web.json shop"]);
    assert_eq!(bench.after(49), NOTHING);
    assert_eq!(bench.after(1), ["shop.yaml shop"]);
}

#[test]
fn a_file_that_is_never_left_alone_is_read_after_half_a_second() {
    let mut bench = Bench::with(&[]);
    bench.write_and_mark("shop.yaml", SHOP, Mark::Written);
    for _ in 0..12 {
        assert_eq!(bench.after(40), NOTHING);
        bench.mark("shop.yaml", Mark::Written);
    }
    assert_eq!(bench.after(20), ["shop.yaml shop"]);
}

const SPACE: &str = "space: acme\ncidr: 10.0.0.0/16\n";

#[test]
fn what_is_new_waits_for_the_space_that_is_on_its_way_beside_it_or_above() {
    let mut bench = Bench::with(&[("old/shop.yaml", SHOP)]);
    bench.write_and_mark("new/space.yaml", SPACE, Mark::Closed);
    bench.write_and_mark("new/instances/web.json", &registration(1), Mark::Placed);
    bench.write_and_mark("old/web.json", &registration(2), Mark::Placed);
    assert_eq!(bench.due(), ["old/web.json shop"], "it is elsewhere");
    assert_eq!(bench.after(49), NOTHING);
    assert_eq!(bench.after(1), ["new/space.yaml acme", "new/instances/web.json shop"]);

    bench.write_and_mark("empty.yaml", "", Mark::Made);
    bench.write_and_mark("old/web.json", &registration(3), Mark::Placed);
    bench.write_and_mark("old/cart.json", &registration(4), Mark::Placed);
    assert_eq!(bench.due(), ["old/web.json shop"], "it has a space already");
    bench.write("empty.yaml", SHOP);
    assert_eq!(bench.after(50), ["empty.yaml shop", "old/cart.json shop"]);
}

#[test]
fn what_is_new_waits_for_a_space_that_came_with_it_and_must_stand_a_while() {
    let mut bench = Bench::with(&[]);
    // Renamed into place, but without a last line feed; an app that says `space` is none.
    bench.write_and_mark("a.yaml", "app: shop\ndiscovery: space\n", Mark::Placed);
    bench.write_and_mark("space.yaml", &SPACE[..SPACE.len() - 1], Mark::Placed);
    bench.write_and_mark("web.json", &registration(1), Mark::Placed);
    bench.write_and_mark("written.yaml", "app: cart\ndiscovery: space\n", Mark::Closed);
    assert_eq!(bench.due(), NOTHING);
    assert_eq!(bench.after(999), NOTHING);
    assert_eq!(bench.after(1), ["space.yaml acme", "a.yaml shop", "web.json shop", "written.yaml cart"]);
}

#[test]
fn what_is_written_anew_all_the_time_is_put_off_no_longer_for_that() {
    let mut bench = Bench::with(&[]);
    for round in 0..15 {
        bench.write_and_mark("space.yaml", &SPACE[..SPACE.len() - 1 - round % 2], Mark::Made);
        bench.write_and_mark("web.json", &registration(1), Mark::Placed);
        assert_eq!(bench.due(), NOTHING);
        bench.now.monotonic += Duration::from_millis(100);
    }
    bench.mark("space.yaml", Mark::Made);
    bench.mark("web.json", Mark::Placed);
    assert_eq!(bench.due(), ["web.json shop"]);
}

#[test]
fn many_that_are_on_their_way_are_not_all_looked_into_and_hold_what_is_new_for_a_moment_only() {
    let mut bench = Bench::with(&[]);
    for number in 0..100 {
        bench.write_and_mark(&format!("renamed{number}.yaml"), SHOP, Mark::Placed);
        bench.write_and_mark(&format!("copied{number}.yaml"), SHOP, Mark::Made);
    }
    assert_eq!(bench.due(), NOTHING, "one of them may be a space");
    assert_eq!(bench.after(49), NOTHING);
    assert_eq!(bench.after(1).len(), 200);
}

#[test]
fn what_is_new_waits_for_no_app() {
    let mut bench = Bench::with(&[]);
    bench.write_and_mark("shop.yaml", SHOP, Mark::Closed);
    bench.write_and_mark("web.json", &registration(1), Mark::Placed);
    assert_eq!(bench.due(), ["web.json shop"]);
}

#[test]
fn a_space_that_is_never_finished_holds_nothing_back_for_long() {
    let mut bench = Bench::with(&[]);
    bench.write_and_mark("web.json", &registration(1), Mark::Placed);
    for round in 0..15 {
        bench.write("space.yaml", &SPACE[..SPACE.len() - 1 - round % 2]);
        bench.mark("space.yaml", Mark::Made);
        assert_eq!(bench.due(), NOTHING);
        bench.now.monotonic += Duration::from_millis(100);
    }
    bench.mark("space.yaml", Mark::Made);
    assert_eq!(bench.due(), ["web.json shop"]);
}

#[test]
fn a_broken_edit_keeps_the_last_good_version_and_shows_its_fault() {
    let mut bench = Bench::with(&[("shop.yaml", SHOP)]);
    bench.write_and_mark("shop.yaml", "name: [shop\n", Mark::Placed);
    assert_eq!(bench.due(), NOTHING);
    assert_eq!(bench.report("shop.yaml").state, FileState::Stale);
    assert_eq!(bench.report("shop.yaml").faults.len(), 1);
    assert!(bench.is_good("shop.yaml", SHOP));
    bench.write_and_mark("shop.yaml", SHOP, Mark::Placed);
    assert_eq!(bench.due(), NOTHING, "it is what is used");
    assert_eq!(bench.report("shop.yaml").state, FileState::Ok);
}

#[test]
fn a_file_at_fault_shows_its_warnings_too() {
    let mut bench = Bench::new();
    bench.write("shop.yaml", "name: Shop\ninternl_routing: true\n");
    bench.scan();
    assert_eq!(bench.due(), NOTHING);
    let report = bench.report("shop.yaml");
    assert_eq!((report.faults.len(), report.warnings.len()), (1, 1));
    assert_eq!(report.warnings[0].place.line, 2);
}

#[test]
fn a_broken_file_that_never_was_good_is_rejected() {
    let mut bench = Bench::new();
    bench.write("shop.yaml", "name: [shop\n");
    bench.scan();
    assert_eq!(bench.due(), NOTHING);
    assert_eq!(bench.report("shop.yaml").state, FileState::Rejected);
}

#[test]
fn a_half_written_yaml_file_is_never_taken_for_a_whole_one() {
    let whole = "name: shop\ninternal_routing: true\n";
    for cut in 0..whole.len() {
        let mut bench = Bench::with(&[("shop.yaml", whole)]);
        bench.write_and_mark("shop.yaml", &whole[..cut], Mark::Closed);
        // The writer pauses, for longer than the quiet that a file written in place needs.
        assert_eq!(bench.after(900), NOTHING, "cut at {cut}");
        assert!(bench.is_good("shop.yaml", whole));
        let now = format!("{whole}# more\n");
        bench.write_and_mark("shop.yaml", &now, Mark::Closed);
        assert_eq!(bench.after(50), ["shop.yaml shop"], "cut at {cut}");
        assert!(bench.is_good("shop.yaml", &now));
    }
}

/// What is read of these is what is in `zones/`: three specs and three registrations.
const EXAMPLES: [(&str, &str); 6] = [
    ("space.yaml", include_str!("../../zones/space.yaml")),
    ("shop.yaml", include_str!("../../zones/shop.yaml")),
    ("blog.yaml", include_str!("../../zones/blog.yaml")),
    ("all.yaml", include_str!("../../zones/instances/shop/all.yaml")),
    ("gallery.yaml", include_str!("../../zones/instances/gallery/web.1.yaml")),
    ("web.1.json", include_str!("../../zones/instances/blog/web.1.json")),
];

#[test]
fn every_prefix_of_a_new_version_written_in_place_leaves_the_old_one() {
    for (file, text) in EXAMPLES {
        // As many octets, and the last ones are others.
        let last = |json, yaml| format!("{text}{}", if file.ends_with("json") { json } else { yaml });
        let (one, other) = (last(" ", "# a\n"), last("\n", "# b\n"));
        let mut bench = Bench::with(&[(file, &one)]);
        let (mut old, mut new) = (one, other);
        // JSON without the spaces at its end is all of it.
        let whole = if file.ends_with("json") { text.trim_end().len() } else { new.len() };
        for cut in 0..whole {
            // Its writer has it open and takes its time; then it is closed, by a crash or for the next piece.
            fs::write(bench.path(file), &new.as_bytes()[..cut]).unwrap();
            bench.mark(file, Mark::Written);
            assert_eq!(bench.after(450), NOTHING, "{file} cut at {cut}");
            bench.mark(file, Mark::Closed);
            assert_eq!(bench.after(900), NOTHING, "{file} cut at {cut}");
            assert!(bench.is_good(file, &old), "{file} cut at {cut}");
            bench.write_and_mark(file, &new, Mark::Closed);
            assert_eq!(bench.after(50).len(), 1, "{file} cut at {cut}");
            assert!(bench.is_good(file, &new));
            std::mem::swap(&mut old, &mut new);
        }
    }
}

#[test]
fn what_may_be_cut_within_a_line_is_never_taken() {
    let mut bench = Bench::with(&[("shop.yaml", "name: shop\nlan: [172.28.5.0/24]\n")]);
    bench.write_and_mark("shop.yaml", "name: sho", Mark::Closed);
    assert_eq!(bench.after(50), NOTHING);
    assert!(bench.report("shop.yaml").faults[0].fault.contains("cut within a line"));
    assert_eq!(bench.after(60_000), NOTHING);
    // Without its last lines, and without the line feed before: that may be meant.
    bench.write_and_mark("shop.yaml", "name: shop", Mark::Closed);
    assert_eq!(bench.after(50), NOTHING);
    assert_eq!(bench.after(1000), ["shop.yaml shop"]);
}

#[test]
fn a_file_that_shrinks_in_place_is_taken_when_it_has_stood_for_a_second() {
    let mut bench = Bench::with(&[("shop.yaml", "name: shop\nlan: [172.28.5.0/24]\n")]);
    bench.write_and_mark("shop.yaml", "name: other\n", Mark::Closed);
    assert_eq!(bench.after(50), NOTHING);
    assert_eq!(bench.after(999), NOTHING);
    assert_eq!(bench.after(1), ["shop.yaml other"]);
    bench.write_and_mark("shop.yaml", "name: less\n", Mark::Placed);
    assert_eq!(bench.due(), ["shop.yaml less"], "renamed into place, it is whole");
}

#[test]
fn a_file_that_is_open_still_waits_its_half_second() {
    let mut bench = Bench::with(&[]);
    bench.write_and_mark("shop.yaml", SHOP, Mark::Made);
    bench.mark("shop.yaml", Mark::Written);
    assert_eq!(bench.after(499), NOTHING);
    assert_eq!(bench.after(1), ["shop.yaml shop"]);
    bench.write_and_mark("blog.yaml", "name: blog\n", Mark::Made);
    assert_eq!(bench.after(50), ["blog.yaml blog"], "a link that was made is heard of once");
}

#[test]
fn a_file_without_a_last_line_feed_is_taken_when_it_has_stood_for_a_second() {
    let mut bench = Bench::with(&[]);
    bench.write_and_mark("shop.yaml", "name: shop", Mark::Placed);
    assert_eq!(bench.due(), NOTHING);
    assert_eq!(bench.after(999), NOTHING);
    assert_eq!(bench.after(1), ["shop.yaml shop"]);
}

#[test]
fn the_beginning_of_the_last_good_version_is_taken_when_it_has_stood_for_a_second() {
    let mut bench = Bench::with(&[("shop.yaml", "name: shop\n# more\n")]);
    bench.write_and_mark("shop.yaml", SHOP, Mark::Placed);
    assert_eq!(bench.due(), NOTHING);
    assert_eq!(bench.after(1000), ["shop.yaml shop"]);
    assert!(bench.is_good("shop.yaml", SHOP));
}

#[test]
fn an_empty_file_is_incomplete_not_removed() {
    for file in ["shop.yaml", "web.json"] {
        let text = if file == "web.json" { registration(1) } else { SHOP.to_owned() };
        let mut bench = Bench::with(&[(file, &text)]);
        bench.write_and_mark(file, "", Mark::Placed);
        assert_eq!(bench.due(), NOTHING);
        assert_eq!(bench.report(file).state, FileState::Ok, "it may be filled in a moment");
        assert_eq!(bench.after(60_000), NOTHING);
        assert_eq!(bench.report(file).state, FileState::Stale);
        assert!(bench.is_good(file, &text));
    }
}

#[test]
fn a_removed_registration_leaves_at_once_and_a_removed_spec_after_a_second() {
    let mut bench = Bench::with(&[("shop.yaml", SHOP), ("web.json", &registration(1))]);
    for file in ["shop.yaml", "web.json"] {
        fs::remove_file(bench.path(file)).unwrap();
        bench.mark(file, Mark::Removed);
    }
    assert_eq!(bench.due(), NOTHING);
    assert_eq!(bench.after(5), ["web.json gone"]);
    assert_eq!(bench.after(994), NOTHING);
    assert_eq!(bench.after(1), ["shop.yaml gone"]);
    assert!(bench.files.reports().is_empty());
}

#[test]
fn settings_of_an_app_are_edited_like_a_spec_and_registrations_beside_them_are_not() {
    let both = "app: shop\nweb: api\ninstances: [{component: api, number: 1, address: 10.0.0.1}]\n";
    let mut bench = Bench::with(&[("settings.yaml", "app: shop\nweb: api\n"), ("both.yaml", both)]);
    for file in ["settings.yaml", "both.yaml"] {
        fs::remove_file(bench.path(file)).unwrap();
        bench.mark(file, Mark::Removed);
    }
    assert_eq!(bench.due(), NOTHING);
    assert_eq!(bench.after(5), ["both.yaml gone"]);
    assert_eq!(bench.after(994), NOTHING);
    assert_eq!(bench.after(1), ["settings.yaml gone"]);
}

#[test]
fn a_broken_space_that_never_was_good_is_told_once_until_it_is_good_or_gone() {
    let mut bench = Bench::new();
    bench.write("space.yaml", "space: acme\ncidr: x\n");
    bench.write("other.yaml", "space: a\n");
    bench.scan();
    assert_eq!(bench.due(), ["other.yaml broken space", "space.yaml broken space"]);
    bench.write_and_mark("space.yaml", "space: acme\ncidr: y\n", Mark::Placed);
    assert_eq!(bench.due(), NOTHING);
    bench.write_and_mark("space.yaml", "space: acme\ncidr: 10.0.0.0/8\n", Mark::Placed);
    assert_eq!(bench.due(), ["space.yaml acme"]);
    bench.write_and_mark("space.yaml", "space: acme\ncidr: y\n", Mark::Placed);
    assert_eq!(bench.due(), NOTHING);
    bench.write_and_mark("other.yaml", "name: Shop\n", Mark::Placed);
    assert_eq!(bench.due(), ["other.yaml "]);
    bench.write_and_mark("other.yaml", "space: a\n", Mark::Placed);
    assert_eq!(bench.due(), ["other.yaml broken space"]);
    fs::remove_file(bench.path("other.yaml")).unwrap();
    bench.mark("other.yaml", Mark::Removed);
    assert_eq!(bench.due(), ["other.yaml gone"]);
}

#[test]
fn delete_and_create_is_an_edit() {
    let mut bench = Bench::with(&[("shop.yaml", SHOP)]);
    fs::rename(bench.path("shop.yaml"), bench.path("shop.yaml~")).unwrap();
    bench.mark("shop.yaml", Mark::Removed);
    assert_eq!(bench.due(), NOTHING);
    bench.now.monotonic += Duration::from_millis(400);
    bench.write_and_mark("shop.yaml", "name: other\n", Mark::Closed);
    assert_eq!(bench.due(), NOTHING);
    assert_eq!(bench.after(50), ["shop.yaml other"]);
    assert_eq!(bench.after(5000), NOTHING);
}

#[test]
fn a_file_made_anew_without_an_event_is_an_edit_too() {
    let mut bench = Bench::with(&[("shop.yaml", SHOP)]);
    fs::remove_file(bench.path("shop.yaml")).unwrap();
    bench.mark("shop.yaml", Mark::Removed);
    assert_eq!(bench.due(), NOTHING);
    bench.write("shop.yaml", "name: other\n");
    assert_eq!(bench.after(1000), NOTHING, "it is there again, and may be being written");
    assert_eq!(bench.after(50), ["shop.yaml other"]);
}

#[test]
fn a_scan_finds_what_no_event_told_of_and_waits_until_it_is_left_alone() {
    let mut bench = Bench::with(&[("shop.yaml", SHOP)]);
    bench.write("shop.yaml", "name: half\n");
    bench.scan();
    assert_eq!(bench.due(), NOTHING);
    bench.write("shop.yaml", "name: whole\n");
    assert_eq!(bench.after(50), NOTHING, "it changed since the scan");
    assert_eq!(bench.after(50), ["shop.yaml whole"]);
    bench.scan();
    assert_eq!(bench.files.next(), None, "a file that stays as it is needs no look");
}

/// Gives a file another time of writing, as `touch` does.
fn touch(bench: &Bench, file: &str, seconds: u64) {
    let later = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH + Duration::from_secs(seconds));
    fs::File::options().write(true).open(bench.path(file)).unwrap().set_times(later).unwrap();
}

#[test]
fn a_file_that_is_touched_or_written_as_it_was_is_a_renewal() {
    let mut bench = Bench::with(&[("web.json", &registration(1))]);
    touch(&bench, "web.json", 2_000_000_000);
    bench.mark("web.json", Mark::Touched);
    assert_eq!(bench.due(), NOTHING);
    assert_eq!(bench.renewed, [Arc::from("web.json")]);
    bench.write_and_mark("web.json", &registration(1), Mark::Placed);
    assert_eq!(bench.due(), NOTHING);
    assert_eq!(bench.renewed, [Arc::from("web.json")]);
    // Rights are not contents.
    fs::set_permissions(bench.path("web.json"), fs::Permissions::from_mode(0o600)).unwrap();
    bench.mark("web.json", Mark::Touched);
    assert_eq!(bench.due(), NOTHING);
    assert!(bench.renewed.is_empty());
}

#[test]
fn whoever_writes_what_cannot_be_used_is_there_still() {
    let mut bench = Bench::with(&[("web.json", &registration(1))]);
    touch(&bench, "web.json", 1_000_000_000);
    bench.mark("web.json", Mark::Touched);
    bench.due();
    bench.write_and_mark("web.json", "{", Mark::Closed);
    assert_eq!(bench.due(), NOTHING);
    assert_eq!(bench.renewed, [Arc::from("web.json")]);
    // Once for each time that it is written.
    assert_eq!(bench.after(1000), NOTHING);
    assert!(bench.renewed.is_empty());
    assert_eq!(bench.report("web.json").state, FileState::Stale);
}

#[test]
fn a_renewal_that_no_event_told_of_is_seen_before_the_lease_runs_out() {
    let mut bench = Bench::with(&[("web.json", &registration(1))]);
    assert!(!bench.files.was_touched(&Arc::from("web.json"), bench.now));
    touch(&bench, "web.json", 2_000_000_000);
    assert!(bench.files.was_touched(&Arc::from("web.json"), bench.now));
    assert!(!bench.files.was_touched(&Arc::from("web.json"), bench.now), "once");
    bench.write("web.json", &registration(2));
    touch(&bench, "web.json", 2_000_000_001);
    assert!(bench.files.was_touched(&Arc::from("web.json"), bench.now));
    bench.after(50);
    assert_eq!(bench.after(50), ["web.json shop"], "and what is new in it is read");
    fs::remove_file(bench.path("web.json")).unwrap();
    assert!(!bench.files.was_touched(&Arc::from("web.json"), bench.now));
}

#[test]
fn a_loss_that_only_a_scan_found_waits_to_be_believed() {
    let mut bench =
        Bench::with(&[("a.json", &registration(1)), ("b.json", &registration(2)), ("c.json", &registration(3))]);
    let missing = |bench: &Bench| bench.files.missing().keys().map(|file| file.to_string()).collect::<Vec<_>>();
    for file in ["a.json", "b.json", "c.json"] {
        fs::remove_file(bench.path(file)).unwrap();
    }
    bench.mark("c.json", Mark::Removed);
    bench.scan();
    assert!(bench.files.due(bench.now).changes.is_empty());
    bench.now.monotonic += Duration::from_millis(5);
    let changes = bench.files.due(bench.now).changes;
    assert_eq!(changes.iter().map(told).collect::<Vec<_>>(), ["c.json gone"], "an event told of it");
    assert_eq!(missing(&bench), ["a.json", "b.json"]);
    assert!(bench.is_good("a.json", &registration(1)));
    // It comes back: it was never gone.
    bench.write("a.json", &registration(1));
    bench.scan();
    assert_eq!(missing(&bench), ["b.json"]);
    // An event tells of the other after all.
    bench.mark("b.json", Mark::Removed);
    bench.files.due(bench.now);
    bench.now.monotonic += Duration::from_millis(5);
    assert_eq!(bench.files.due(bench.now).changes.iter().map(told).collect::<Vec<_>>(), ["b.json gone"]);
    assert!(missing(&bench).is_empty());
}

#[test]
fn what_is_no_regular_file_is_a_fault_and_never_opened() {
    let mut bench = Bench::with(&[("shop.yaml", SHOP)]);
    let made = std::process::Command::new("mkfifo").arg(bench.path("fifo.yaml")).status().unwrap();
    assert!(made.success());
    let _socket = UnixListener::bind(bench.path("socket.json")).unwrap();
    symlink("/dev/zero", bench.path("device.yml")).unwrap();
    symlink("loop.yaml", bench.path("loop.yaml")).unwrap();
    symlink("/", bench.path("directory.yaml")).unwrap();
    symlink("/etc", bench.path("etc")).unwrap();
    symlink("nowhere", bench.path("nowhere.yaml")).unwrap();
    bench.scan();
    assert_eq!(bench.due(), NOTHING);
    for (file, fault) in [
        ("fifo.yaml", "a FIFO"),
        ("socket.json", "a socket"),
        ("device.yml", "a device"),
        ("directory.yaml", "a link to a directory"),
        ("loop.yaml", "cannot be read"),
    ] {
        let report = bench.report(file);
        assert_eq!(report.state, FileState::Rejected, "{file}");
        assert!(report.faults[0].fault.contains(fault), "{file}: {}", report.faults[0]);
    }
    assert_eq!(bench.files.reports().len(), 6, "what leads nowhere is not there");
}

#[test]
fn a_good_file_that_becomes_a_fifo_keeps_its_last_good_version() {
    let mut bench = Bench::with(&[("shop.yaml", SHOP)]);
    fs::remove_file(bench.path("shop.yaml")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(bench.path("shop.yaml")).status().unwrap();
    assert!(made.success());
    bench.scan();
    assert_eq!(bench.after(5000), NOTHING);
    assert_eq!(bench.report("shop.yaml").state, FileState::Stale);
    assert!(bench.is_good("shop.yaml", SHOP));
}

#[test]
fn no_fault_quotes_what_a_link_out_of_the_directory_leads_to() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret_key: hunter2\n").unwrap();
    fs::write(outside.path().join("good"), SHOP).unwrap();
    let mut bench = Bench::new();
    symlink(outside.path().join("secret"), bench.path("bad.yaml")).unwrap();
    symlink(outside.path().join("good"), bench.path("good.yaml")).unwrap();
    bench.scan();
    assert_eq!(bench.due(), ["good.yaml shop"]);
    let faults = format!("{:?}", bench.report("bad.yaml").faults);
    assert!(faults.contains("out of the spec directory"), "{faults}");
    assert!(!faults.contains("secret_key") && !faults.contains("hunter2"), "{faults}");
}

#[test]
fn a_file_that_cannot_be_read_and_never_could_is_told_once() {
    let mut bench = Bench::new();
    // What may be done to the superuser, too: the name that it leads to is too long.
    symlink("x".repeat(300), bench.path("space.yaml")).unwrap();
    bench.scan();
    assert_eq!(bench.due(), ["space.yaml unread"]);
    assert_eq!(bench.report("space.yaml").state, FileState::Rejected);
    bench.scan();
    assert_eq!(bench.due(), NOTHING);
    fs::remove_file(bench.path("space.yaml")).unwrap();
    bench.write("space.yaml", SHOP);
    bench.mark("space.yaml", Mark::Placed);
    assert_eq!(bench.due(), ["space.yaml shop"]);
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let mut bench = Bench::new();
    fs::File::create(bench.path("sparse.yaml")).unwrap().set_len(1 << 30).unwrap();
    bench.scan();
    assert_eq!(bench.due(), NOTHING);
    assert!(bench.report("sparse.yaml").faults[0].fault.contains("1073741824 octets"));
}

#[test]
fn a_kubernetes_mount_changes_all_at_once() {
    let mut bench = Bench::new();
    // No last line feed: a mount is written whole, and need not stand a while.
    bench.write("..one/a.yaml", "name: a1");
    bench.write("..one/b.yaml", "name: b1");
    bench.write("..two/a.yaml", "name: a2");
    bench.write("..two/b.yaml", "name: b2");
    symlink("..one", bench.path("..data")).unwrap();
    symlink("..data/a.yaml", bench.path("a.yaml")).unwrap();
    symlink("..data/b.yaml", bench.path("b.yaml")).unwrap();
    bench.scan();
    assert_eq!(bench.due(), ["a.yaml a1", "b.yaml b1"]);
    symlink("..two", bench.path("..data_tmp")).unwrap();
    fs::rename(bench.path("..data_tmp"), bench.path("..data")).unwrap();
    fs::remove_dir_all(bench.path("..one")).unwrap();
    bench.scan();
    assert_eq!(bench.due(), ["a.yaml a2", "b.yaml b2"]);
}

#[test]
fn a_directory_that_is_lost_freezes_what_is_served_until_there_is_content_again() {
    let mut bench = Bench::with(&[("shop.yaml", SHOP), ("web.json", &registration(1))]);
    let away = tempfile::tempdir().unwrap();
    fs::rename(bench.dir.path(), away.path().join("old")).unwrap();
    bench.mark("web.json", Mark::Removed);
    assert_eq!(bench.due(), NOTHING);
    bench.scan();
    assert_eq!(bench.after(60_000), NOTHING);
    fs::create_dir(bench.dir.path()).unwrap();
    bench.scan();
    assert_eq!(bench.after(60_000), NOTHING);
    assert!(bench.files.is_frozen(), "an empty directory in its place is not its content");
    bench.write("web.json", &registration(2));
    bench.scan();
    assert_eq!(bench.after(50), ["web.json shop"]);
    assert_eq!(bench.after(950), ["shop.yaml gone"], "what is not in the new one is removed, a second later");
    assert!(!bench.files.is_frozen());
}

#[test]
fn a_directory_that_is_emptied_is_not_lost() {
    let mut bench = Bench::with(&[("web.json", &registration(1))]);
    fs::remove_file(bench.path("web.json")).unwrap();
    bench.scan();
    assert_eq!(bench.due(), NOTHING);
    assert_eq!(bench.after(5), ["web.json gone"]);
}

#[test]
fn a_subdirectory_that_goes_takes_its_files_with_it() {
    let mut bench = Bench::with(&[("shop/web.json", &registration(1)), ("a.yaml", SHOP)]);
    fs::remove_dir_all(bench.path("shop")).unwrap();
    bench.scan();
    bench.due();
    assert_eq!(bench.after(5), ["shop/web.json gone"]);
}

#[test]
fn a_directory_that_is_renamed_loses_no_registration_on_the_way() {
    let mut bench = Bench::with(&[("old/web.json", &registration(1))]);
    bench.now.wall = 99_999_999_999;
    fs::rename(bench.path("old"), bench.path("new")).unwrap();
    bench.scan();
    assert_eq!(bench.due(), ["new/web.json shop"]);
    assert_eq!(bench.after(5), ["old/web.json gone"]);
}

#[test]
fn nothing_below_a_directory_that_cannot_be_listed_is_gone() {
    let mut bench = Bench::with(&[("shop/web.json", &registration(1)), ("other/web.json", &registration(2))]);
    // The superuser can list everything, so the error is made by hand.
    fs::remove_file(bench.path("shop/web.json")).unwrap();
    fs::remove_file(bench.path("other/web.json")).unwrap();
    let mut tour = Tour::begin("", &mut bench.files);
    tour.go_on(&mut bench.files, usize::MAX, &mut |_, _, _| {}).unwrap();
    let mut found = tour.found(&bench.files);
    found.scan.directories.remove("shop");
    found.scan.unread.insert(Arc::from("shop"), io::ErrorKind::PermissionDenied.into());
    bench.files.found(found, "", Told::ByScan, &HashSet::new(), bench.now);
    bench.due();
    assert_eq!(bench.after(5), ["other/web.json gone"]);
    assert_eq!(bench.report("shop").state, FileState::Stale);
    assert!(bench.is_good("shop/web.json", &registration(1)));
    bench.scan();
    assert!(!bench.files.reports().contains_key("shop"), "it can be listed again");
}

/// What happens to files while everything is looked at.
#[derive(Debug, Clone, Copy)]
enum Meanwhile {
    Replaced,
    Removed,
    Made,
    Moved,
    RemovedAndMade,
    /// It had been replaced before, which nobody heard.
    ReplacedAgain,
    /// It had been removed before, which nobody heard.
    MadeAgain,
}

/// When the owner hears of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hears {
    /// At once, between two steps.
    AtOnce,
    /// After the last one.
    Late,
    /// Not at all: the next scan tells.
    Never,
}

impl Bench {
    /// Does it, and what events tell of it.
    fn change(&self, change: Meanwhile) -> Vec<(&'static str, Mark)> {
        let replace = |file: &str, address| {
            self.write(".new", &registration(address));
            fs::rename(self.path(".new"), self.path(file)).unwrap();
        };
        let remove = |file: &str| fs::remove_file(self.path(file)).unwrap();
        match change {
            Meanwhile::Replaced => {
                replace("d/c.json", 50);
                vec![("d/c.json", Mark::Placed)]
            }
            Meanwhile::Removed => {
                remove("d/c.json");
                vec![("d/c.json", Mark::Removed)]
            }
            Meanwhile::Made => {
                replace("d/bb.json", 51);
                replace("zz.json", 52);
                vec![("d/bb.json", Mark::Placed), ("zz.json", Mark::Placed)]
            }
            Meanwhile::Moved => {
                fs::rename(self.path("d/c.json"), self.path("aa.json")).unwrap();
                fs::rename(self.path("a.json"), self.path("d/zz.json")).unwrap();
                let (gone, placed) = (Mark::Removed, Mark::Placed);
                vec![("d/c.json", gone), ("aa.json", placed), ("a.json", gone), ("d/zz.json", placed)]
            }
            Meanwhile::RemovedAndMade => {
                remove("d/c.json");
                remove("a.json");
                replace("d/c.json", 53);
                vec![("d/c.json", Mark::Removed), ("d/c.json", Mark::Placed), ("a.json", Mark::Removed)]
            }
            Meanwhile::ReplacedAgain => {
                replace("b.json", 54);
                vec![("b.json", Mark::Placed)]
            }
            Meanwhile::MadeAgain => {
                replace("a.json", 55);
                vec![("a.json", Mark::Placed)]
            }
        }
    }

    /// Lets time pass until nothing is to be looked at, and holds every file that was said to be gone to the directory.
    fn settle(&mut self, case: &str) {
        for _ in 0..100 {
            for told in self.after(20) {
                if let Some(file) = told.strip_suffix(" gone") {
                    assert!(!self.path(file).exists(), "{case}: {file} is there, and was said to be gone");
                }
            }
        }
        assert_eq!(self.files.next(), None, "{case}");
    }

    /// Holds what is known to what is there.
    fn hold_to_what_is_there(&self, case: &str) {
        for file in
            ["a.json", "aa.json", "b.json", "d/a.json", "d/bb.json", "d/c.json", "d/zz.json", "e.json", "zz.json"]
        {
            let there = fs::read(self.path(file)).ok().map(|octets| Hash::of(&octets));
            assert_eq!(self.files.good(file), there, "{case}: {file}");
        }
        assert!(self.files.missing().is_empty(), "{case}");
    }
}

/// A scan in steps is as old as its first. Whatever happens between two of them, what is known in the end is what is there, no
/// file that is there is taken for gone on the way, and what was heard of is not heard of again.
#[test]
fn what_happens_between_two_steps_of_a_scan_wins_over_what_it_saw_before() {
    let files = ["a.json", "b.json", "d/a.json", "d/c.json", "e.json"].map(ToOwned::to_owned);
    // So many others that they are held against what was found in more than one step.
    let files = files.into_iter().chain((0..10).map(|number| format!("d/d{number}.json")));
    let files: Vec<(String, String)> = files.zip((1..).map(registration)).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(file, text)| (file.as_str(), text.as_str())).collect();
    for change in [
        Meanwhile::Replaced,
        Meanwhile::Removed,
        Meanwhile::Made,
        Meanwhile::Moved,
        Meanwhile::RemovedAndMade,
        Meanwhile::ReplacedAgain,
        Meanwhile::MadeAgain,
    ] {
        for hears in [Hears::AtOnce, Hears::Late, Hears::Never] {
            for (names, steps) in (0..25).map(|steps| (1, steps)).chain((0..14).map(|steps| (2, steps))) {
                let case = format!("{change:?}, heard {hears:?}, after {steps} steps of {names}");
                let mut bench = Bench::with(&files);
                match change {
                    Meanwhile::ReplacedAgain => bench.write("b.json", &registration(40)),
                    Meanwhile::MadeAgain => fs::remove_file(bench.path("a.json")).unwrap(),
                    _ => {}
                }
                let mut tour = Tour::begin("", &mut bench.files);
                let ended = (0..steps)
                    .any(|_| tour.go_on(&mut bench.files, names, &mut |_, _, _| {}).unwrap() == Progress::Done);
                let marks = bench.change(change);
                let heard = |bench: &mut Bench| {
                    marks.iter().for_each(|(file, mark)| bench.mark(file, *mark));
                    bench.settle(&case);
                };
                if hears == Hears::AtOnce {
                    heard(&mut bench);
                    bench.hold_to_what_is_there(&case);
                }
                if ended {
                    bench.files.found(tour.found(&bench.files), "", Told::ByScan, &HashSet::new(), bench.now);
                } else {
                    bench.scan_on(tour, names);
                }
                if hears == Hears::AtOnce {
                    let again = marks.iter().find(|(file, _)| bench.files.is_waiting(file));
                    assert_eq!(again, None, "{case}: it is known");
                    bench.hold_to_what_is_there(&case);
                }
                if hears == Hears::Late {
                    heard(&mut bench);
                    bench.hold_to_what_is_there(&case);
                }
                bench.settle(&case);
                bench.scan();
                bench.settle(&case);
                bench.hold_to_what_is_there(&case);
            }
        }
    }
}

#[test]
fn a_scan_in_steps_finds_what_one_at_once_does() {
    let texts: Vec<(String, String)> = (0..40).map(|n| (format!("{}/{n}.json", n % 3), registration(n))).collect();
    let files: Vec<(&str, &str)> = texts.iter().map(|(file, text)| (file.as_str(), text.as_str())).collect();
    let found = |names: usize| {
        let mut bench = Bench::with(&files);
        fs::remove_file(bench.path("1/1.json")).unwrap();
        fs::remove_dir_all(bench.path("2")).unwrap();
        bench.write("0/3.json", &registration(77));
        bench.write("new/0.json", &registration(78));
        let tour = Tour::begin("", &mut bench.files);
        bench.scan_on(tour, names);
        let mut told = bench.due();
        (0..10).for_each(|_| told.extend(bench.after(20)));
        told.sort();
        told
    };
    let at_once = found(usize::MAX);
    assert_eq!(at_once.len(), 1 + 13 + 2, "{at_once:?}");
    for names in [1, 2, 3, 7, 20, 100] {
        assert_eq!(found(names), at_once, "{names} a step");
    }
}

#[test]
fn a_survey_takes_everything_as_it_stands() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.yaml"), "name: shop").unwrap();
    fs::write(dir.path().join("b.yaml"), "").unwrap();
    let now = Now { monotonic: Duration::ZERO, wall: 0 };
    let survey = survey(dir.path(), Duration::ZERO, now).unwrap();
    let states = survey.reports.iter().map(|(file, report)| (&**file, report.state)).collect::<Vec<_>>();
    assert_eq!(states, [("a.yaml", FileState::Ok), ("b.yaml", FileState::Rejected)]);
    assert_eq!(survey.snapshot().readiness, Readiness::Ready);
    assert!(super::survey(&dir.path().join("nowhere"), Duration::ZERO, now).is_err());
}

/// So many files that they are read ahead, of which nothing is known yet, in two directories.
fn many(bench: &Bench) -> Vec<String> {
    let files: Vec<String> = (0..600).map(|number| format!("{}/{number:03}.json", number % 2)).collect();
    for (number, file) in (0..).zip(&files) {
        bench.write(file, &registration(number));
    }
    files
}

#[test]
fn what_becomes_of_files_between_the_first_walk_and_their_reading_is_what_is_taken() {
    let mut bench = Bench::new();
    let files = many(&bench);
    let [gone, other, link, fifo, directory, ..] = files.as_slice() else { panic!("there are more") };
    bench.scan();
    fs::remove_file(bench.path(gone)).unwrap();
    let beside = bench.path("0/.beside");
    fs::write(&beside, registration(7)).unwrap();
    fs::rename(&beside, bench.path(other)).unwrap();
    for file in [link, fifo, directory] {
        fs::remove_file(bench.path(file)).unwrap();
    }
    symlink(bench.path(other), bench.path(link)).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, bench.path(fifo), rustix::fs::Mode::RWXU).unwrap();
    fs::create_dir(bench.path(directory)).unwrap();
    assert_eq!(bench.due().len(), files.len() - 3);
    assert!(bench.is_good(other, &registration(7)) && bench.is_good(link, &registration(7)));
    assert_eq!(bench.report(fifo).state, FileState::Rejected);
    assert!(files[5..].iter().all(|file| bench.report(file).state == FileState::Ok));
    let reports = bench.files.reports();
    assert!(!reports.contains_key(gone.as_str()) && !reports.contains_key(directory.as_str()));
    assert_eq!(bench.after(5), NOTHING, "nothing that was never taken is removed");
}

#[test]
fn a_directory_that_goes_between_the_first_walk_and_the_reading_leaves_the_others() {
    let mut bench = Bench::new();
    let files = many(&bench);
    bench.scan();
    fs::remove_dir_all(bench.path("1")).unwrap();
    assert_eq!(bench.due().len(), files.len() / 2);
    assert!(bench.files.reports().keys().all(|file| file.starts_with("0/")));
}

#[test]
fn json_that_is_empty_at_the_first_walk_is_refused_at_once_if_it_has_stood() {
    for (wall, state) in [(99_999_999_999, Some(FileState::Rejected)), (0, None)] {
        let mut bench = Bench::new();
        bench.now.wall = wall;
        many(&bench);
        bench.write("empty.json", "");
        bench.scan();
        bench.due();
        assert_eq!(bench.files.standing("empty.json").map(|standing| standing.state), state);
        bench.after(1_500);
        assert_eq!(bench.report("empty.json").state, FileState::Rejected);
    }
}

#[test]
fn looking_at_a_directory_finds_no_file() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("a.yaml")).unwrap();
    assert!(matches!(scan::look(dir.path(), "a.yaml"), Sight::Gone));
    assert!(matches!(scan::look(dir.path(), "a.yaml/b.yaml"), Sight::Gone));
}

/// An owner task with real events, whose rounds the test turns.
struct Live {
    owner: Owner,
    control: Control,
    dir: TempDir,
}

impl Live {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (control, inbox) = crate::control::channel().unwrap();
        let publisher = Publisher::new(Snapshot::starting());
        let root = dir.path().to_owned();
        let settings = Settings { root, tombstone: Duration::from_secs(3600), removal_hold: Duration::from_secs(10) };
        let gauges = Arc::new(FileGauges::default());
        let owner = Owner::new(settings, publisher, (control.clone(), inbox), gauges, (clock(), unexplained()), None);
        let mut live = Self { owner, control, dir };
        for (file, text) in files {
            live.place(file, text);
        }
        live.until("it is ready", |owner| owner.is_ready());
        live
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    /// Renames a file into place, as writers should.
    fn place(&self, file: &str, text: &str) {
        let path = self.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let temporary = path.with_file_name(".new.tmp");
        fs::write(&temporary, text).unwrap();
        fs::rename(temporary, path).unwrap();
    }

    /// Turns rounds until `holds` does; fails after [`PATIENCE`].
    fn until(&mut self, what: &str, holds: impl Fn(&Owner) -> bool) {
        let clock = clock();
        while !holds(&self.owner) {
            assert!(clock().monotonic < PATIENCE, "waited in vain: {what}");
            assert!(self.owner.round().is_continue());
        }
    }

    /// The same of what an event must tell: no scan comes of itself, however long the machine takes.
    fn hear(&mut self, what: &str, holds: impl Fn(&Owner) -> bool) {
        let clock = clock();
        while !holds(&self.owner) {
            self.owner.put_off_scans(PATIENCE);
            assert!(self.owner.round().is_continue());
            assert!(clock().monotonic < PATIENCE, "no event told of it: {what}");
        }
    }

    fn until_good(&mut self, file: &str, text: &str) {
        self.until(file, |owner| owner.files.good(file) == Some(Hash::of(text.as_bytes())));
    }

    fn hear_good(&mut self, file: &str, text: &str) {
        self.hear(file, |owner| owner.files.good(file) == Some(Hash::of(text.as_bytes())));
    }

    fn hear_gone(&mut self, file: &str) {
        self.hear(file, |owner| owner.files.good(file).is_none());
    }
}

#[expect(clippy::disallowed_methods, reason = "these tests are about real events, which come in real time")]
fn clock() -> Clock {
    let begun = Instant::now();
    let wall = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
    Box::new(move || Now { monotonic: begun.elapsed(), wall: wall() })
}

/// How long anything may take that is waited for, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn an_empty_directory_is_ready() {
    assert!(Live::new(&[]).owner.is_ready());
}

#[test]
fn a_rename_into_place_is_heard() {
    let mut live = Live::new(&[("web.json", &registration(1))]);
    for address in 2..20 {
        live.place("web.json", &registration(address));
        live.hear_good("web.json", &registration(address));
    }
}

#[test]
fn a_file_written_in_place_and_a_removal_are_heard() {
    let mut live = Live::new(&[]);
    let mut file = fs::File::create(live.path("shop.yaml")).unwrap();
    file.write_all(b"name: shop\n").unwrap();
    file.write_all(b"# more\n").unwrap();
    drop(file);
    live.hear_good("shop.yaml", "name: shop\n# more\n");
    fs::remove_file(live.path("shop.yaml")).unwrap();
    live.hear_gone("shop.yaml");
}

#[test]
fn files_in_new_directories_are_heard() {
    let mut live = Live::new(&[]);
    live.place("instances/shop/web.1.json", &registration(1));
    live.hear_good("instances/shop/web.1.json", &registration(1));
    live.place("instances/shop/web.1.json", &registration(2));
    live.hear_good("instances/shop/web.1.json", &registration(2));
    fs::rename(live.path("instances"), live.path("moved")).unwrap();
    live.hear_good("moved/shop/web.1.json", &registration(2));
    live.hear_gone("instances/shop/web.1.json");
    fs::remove_dir_all(live.path("moved")).unwrap();
    live.hear_gone("moved/shop/web.1.json");
}

#[test]
fn a_directory_that_is_renamed_is_heard_of_with_nothing_missing_between() {
    let mut live = Live::new(&[("b/shop/web.1.json", &registration(1))]);
    let file = |directory: &str| format!("{directory}/shop/web.1.json");
    // In the order of their names and against it.
    for (old, new) in [("b", "c"), ("c", "a"), ("a", "b")] {
        fs::rename(live.path(old), live.path(new)).unwrap();
        live.hear("the old one is gone", |owner| {
            let [is_old, is_new] = [old, new].map(|directory| owner.files.good(&file(directory)).is_some());
            assert!(is_old || is_new, "{old} is gone before {new} is there");
            !is_old
        });
    }
}

#[test]
fn the_swap_of_a_kubernetes_mount_is_heard() {
    let mut live = Live::new(&[("..one/a.yaml", "name: a1"), ("..two/a.yaml", "name: a2")]);
    symlink("..data/a.yaml", live.path("a.yaml")).unwrap();
    symlink("..one", live.path("..data")).unwrap();
    live.hear_good("a.yaml", "name: a1");
    symlink("..two", live.path("..data_tmp")).unwrap();
    fs::rename(live.path("..data_tmp"), live.path("..data")).unwrap();
    live.hear_good("a.yaml", "name: a2");
}

#[test]
fn a_directory_made_anew_is_found_and_heard_from() {
    let mut live = Live::new(&[("web.json", &registration(1))]);
    let away = tempfile::tempdir().unwrap();
    fs::rename(live.dir.path(), away.path().join("old")).unwrap();
    live.until("it is frozen", |owner| owner.files.is_frozen());
    assert_eq!(live.owner.files.good("web.json"), Some(Hash::of(registration(1).as_bytes())));
    live.place("web.json", &registration(2));
    live.until_good("web.json", &registration(2));
    live.place("web.json", &registration(3));
    live.hear_good("web.json", &registration(3));
}

#[test]
fn a_thousand_files_at_once_are_all_taken_and_all_replaced() {
    let mut live = Live::new(&[]);
    let names = |part: &str| (0..1000).map(|number| format!("{part}/{number}.json")).collect::<Vec<_>>();
    for file in names("a") {
        live.place(&file, &registration(1));
    }
    live.until("the first are there", |owner| owner.files.count() == 1000);
    for (old, new) in names("a").iter().zip(names("b")) {
        live.place(&new, &registration(2));
        fs::remove_file(live.path(old)).unwrap();
    }
    live.until("the others are there, and only they", |owner| {
        owner.files.count() == 1000 && names("b").iter().all(|file| owner.files.good(file).is_some())
    });
}

/// More files than are looked at in a few steps.
fn fill(live: &mut Live) -> usize {
    let many = 20 * owner::STEP;
    for number in 0..many {
        live.place(&format!("many/{number}.json"), &registration(1));
    }
    live.until("all are there", |owner| owner.files.count() == many);
    live.until("everything is looked at", |owner| !owner.is_scanning());
    many
}

#[test]
fn a_change_is_served_while_everything_is_looked_at() {
    let mut live = Live::new(&[]);
    fill(&mut live);
    live.control.rescan();
    live.until("it is looked at", Owner::is_scanning);
    for address in 2..5 {
        live.place("many/7.json", &registration(address));
        assert!(live.owner.round().is_continue());
        assert_eq!(live.owner.files.good("many/7.json"), Some(Hash::of(registration(address).as_bytes())));
        assert!(live.owner.is_scanning(), "it was not waited for");
    }
    live.until("it ends", |owner| !owner.is_scanning());
}

#[test]
fn a_directory_that_changes_while_everything_is_looked_at_ends_that() {
    let mut live = Live::new(&[]);
    let many = fill(&mut live);
    for (old, new) in [("many", "a"), ("a", "z")] {
        live.control.rescan();
        live.until("it is looked at", Owner::is_scanning);
        fs::rename(live.path(old), live.path(new)).unwrap();
        live.until("it is heard", |owner| owner.files.good(&format!("{new}/0.json")).is_some());
        assert!(!live.owner.is_scanning(), "all of it is looked at, in one piece");
        live.until("the old ones are gone", |owner| owner.files.count() == many);
        assert!(live.owner.files.missing().is_empty(), "an event told of them");
    }
}

#[test]
fn where_events_are_lost_what_was_looked_at_before_is_looked_at_again() {
    let mut live = Live::new(&[]);
    fill(&mut live);
    live.control.rescan();
    live.until("it is looked at", Owner::is_scanning);
    live.control.lost();
    assert!(live.owner.round().is_continue());
    assert!(!live.owner.is_scanning(), "all of it, in one piece");
}

#[test]
fn who_asks_for_a_scan_while_there_is_one_gets_another() {
    let mut live = Live::new(&[]);
    fill(&mut live);
    live.control.rescan();
    live.until("it is looked at", Owner::is_scanning);
    live.control.rescan();
    live.until("it ends", |owner| !owner.is_scanning());
    let begun = clock();
    live.until("it is looked at again", Owner::is_scanning);
    assert!(begun().monotonic < owner::SCAN_EVERY, "that is how soon it would be without");
}

/// A clock that the test turns, in milliseconds; the wall clock jumps with each look.
fn turned(milliseconds: &Arc<AtomicU64>) -> Clock {
    let (milliseconds, looks) = (Arc::clone(milliseconds), AtomicU64::new(0));
    const WALLS: [u64; 5] = [1_795_000_000, 1_795_003_600, 1_794_996_400, 2_110_000_000, 1_480_000_000];
    Box::new(move || Now {
        monotonic: Duration::from_millis(milliseconds.load(Ordering::SeqCst)),
        wall: WALLS[usize::try_from(looks.fetch_add(1, Ordering::SeqCst)).unwrap() % WALLS.len()],
    })
}

#[test]
fn a_lease_runs_by_the_monotonic_clock_and_is_whole_after_a_pause() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("web.json"), registration(1).replace('}', r#", "lease": "30s"}"#)).unwrap();
    let (control, inbox) = crate::control::channel().unwrap();
    let settings =
        Settings { root: dir.path().to_owned(), tombstone: Duration::ZERO, removal_hold: Duration::from_secs(10) };
    let gauges = Arc::new(FileGauges::default());
    let elapsed = Arc::new(AtomicU64::new(0));
    let publisher = Publisher::new(Snapshot::starting());
    let served = publisher.subscribe();
    let mut owner = Owner::new(
        settings,
        publisher,
        (control.clone(), inbox),
        Arc::clone(&gauges),
        (turned(&elapsed), unexplained()),
        None,
    );
    // A message for each round: it waits for nothing.
    let mut pass = |milliseconds: u64| {
        elapsed.fetch_add(milliseconds, Ordering::SeqCst);
        control.rescan();
        assert!(owner.round().is_continue());
        let snapshot = served.reader().current().clone();
        snapshot.apps.iter().map(|(_, app)| app.answering()).sum::<usize>()
    };
    assert_eq!(pass(1), 2);
    let pauses =
        |gauges: &FileGauges| gauges.numbers().iter().find(|gauge| gauge.name.contains("pauses")).unwrap().value;
    for _ in 0..58 {
        assert_eq!(pass(500), 2);
    }
    assert_eq!(pauses(&gauges), 0);
    // 29 s of the lease are over; then nobody looks for two minutes.
    assert_eq!(pass(120_000), 2);
    assert_eq!(pauses(&gauges), 1);
    for _ in 0..59 {
        assert_eq!(pass(500), 2);
    }
    assert_eq!(pass(500), 0, "30 s after the pause");
}

#[test]
fn our_own_reads_cause_no_work() {
    let mut live = Live::new(&[("shop.yaml", SHOP), ("instances/web.json", &registration(1))]);
    live.control.rescan();
    assert!(live.owner.round().is_continue());
    fs::read(live.path("shop.yaml")).unwrap();
    fs::read_dir(live.dir.path()).unwrap().for_each(drop);
    // An event that must come, behind those that must not.
    fs::remove_file(live.path("shop.yaml")).unwrap();
    let marks = live.owner.next(Duration::from_secs(10)).marks;
    assert_eq!(marks.into_iter().collect::<Vec<_>>(), [(live.path("shop.yaml").into_os_string(), Mark::Removed)]);
}

#[test]
fn nobody_waits_for_an_owner_that_takes_in_what_was_saved() {
    let dir = tempfile::tempdir().unwrap();
    let (control, inbox) = crate::control::channel().unwrap();
    let settings = Settings { root: dir.path().to_owned(), tombstone: Duration::ZERO, removal_hold: Duration::ZERO };
    let (held, release) = std::sync::mpsc::channel::<()>();
    let looks = AtomicU64::new(0);
    // The first look is whoever starts it; the next is the first thing that the task does, and holds it up.
    let clock = move || {
        if looks.fetch_add(1, Ordering::SeqCst) > 0 {
            let _ = release.recv();
        }
        Now { monotonic: Duration::ZERO, wall: 0 }
    };
    let publisher = Publisher::new(Snapshot::starting());
    let ends = (control.clone(), inbox);
    let task = start(settings, publisher, ends, Arc::default(), (Box::new(clock), unexplained()), None, None).unwrap();
    assert!(!task.is_finished());
    control.stop();
    let (told, ended) = std::sync::mpsc::channel();
    thread::spawn(move || told.send(task.end().is_ok()));
    assert_eq!(ended.recv_timeout(Duration::from_secs(10)), Ok(true));
    drop(held);
}

/// Rows of FILES that name a time, as sums of what is waited for: what a machine needs besides is not ours to promise.
#[test]
fn what_is_waited_for_adds_up_to_what_is_promised() {
    // The newest of a thousand renames is due at once, however many came before it.
    let mut bench = Bench::with(&[("shop.yaml", SHOP)]);
    for version in 0..1000 {
        bench.write_and_mark("shop.yaml", &format!("{SHOP}# {version}\n"), Mark::Placed);
        bench.now.monotonic += Duration::from_millis(10);
        assert!(bench.files.next().is_some_and(|due| due <= bench.now.monotonic));
    }
    bench.due();
    assert!(bench.is_good("shop.yaml", &format!("{SHOP}# 999\n")));
    // What only a scan finds is read within six seconds of its being there: a scan, and a little quiet.
    bench.write("late.yaml", &SHOP.replace("shop", "late"));
    bench.scan();
    let wait = bench.files.next().unwrap() - bench.now.monotonic;
    assert!(owner::SCAN_EVERY + wait < Duration::from_secs(6), "{wait:?}");
}

#[test]
fn the_owner_ends_when_told() {
    let mut live = Live::new(&[]);
    live.control.stop();
    assert!(live.owner.round().is_break());
}

/// Explains nothing: not what these tests are about.
pub(super) fn unexplained() -> Explain {
    Box::new(|_, _, _| Err("not here".to_owned()))
}
