//! Files that change under a server, one test for each way in which they do, each against the built binary, its own directory
//! and its own mounts, and nearly all with a [canary](crate::canary) that asks on: no negative, no wrong, no lost answer.
//!
//! | What happens | Test |
//! |---|---|
//! | slow writer, crash in mid-write | [`writers::a_slow_writer_is_waited_for_and_one_that_crashed_changes_nothing`] |
//! | writer's disk full | [`writers::a_full_disk_shortens_nothing`] |
//! | every prefix of specs and registrations | `watch::tests::every_prefix_of_a_new_version_written_in_place_leaves_the_old_one` (the rules, with time as a field), [`writers::answers_are_old_or_new_at_every_prefix`] |
//! | vim, emacs, nano, gedit, `sed -i`, `cp`, `tee`, `install -m`, rsync, git checkout | [`writers::no_tool_makes_a_gap`] |
//! | rename over the file a thousand times | [`writers::a_storm_of_renames_ends_in_the_newest`]; within 1 s: there too, and `watch::tests::what_is_waited_for_adds_up_to_what_is_promised` |
//! | ConfigMap or Secret | [`writers::a_config_map_changes_all_at_once`] |
//! | 10,000 files swapped for another 10,000 | [`writers::many_files_are_swapped_for_as_many`]; within 2 s: [`writers::ten_thousand_files_are_swapped_for_ten_thousand`] (by hand) |
//! | inotify exhausted | [`directory::without_inotify_scans_do_and_events_are_asked_for_again`]; within 6 s: `watch::tests::what_is_waited_for_adds_up_to_what_is_promised` |
//! | NFS, overlay, 9p, FUSE | [`directory::an_overlay_is_polled_for_what_it_does_not_tell`] |
//! | our own reads | [`directory::reading_wakes_nobody`] |
//! | directory deleted, renamed away and made anew | [`directory::a_directory_that_goes_and_comes_freezes_what_is_served`] |
//! | directory unmounted, remounted | [`directory::a_file_system_that_goes_and_comes_freezes_what_is_served`] |
//! | directory missing at start, nothing saved | [`directory::a_directory_that_is_not_there_is_said_and_ends_the_server`], `outlives::without_a_directory_and_without_saved_state_the_server_says_so_and_exits` |
//! | directory missing at start, saved state | `outlives::a_restart_serves_what_was_served_before_a_bad_edit_and_who_held_a_name_holds_it`, `outlives::a_directory_can_be_put_away` |
//! | EACCES, EIO, ESTALE; ENOENT alone is a removal | [`directory::what_cannot_be_read_is_not_gone`], [`directory::a_space_that_cannot_be_read_is_not_absent`] |
//! | clock set by ±1 h or ±10 years | [`time::setting_the_clock_expires_nothing`], `watch::tests::a_lease_runs_by_the_monotonic_clock_and_is_whole_after_a_pause` |
//! | SIGSTOP or a pause of the machine | [`time::after_a_pause_every_lease_is_whole`] |
//! | a lease | [`time::a_lease_is_renewed_by_touching_without_a_generation_and_runs_out_without`], [`directory::leases_that_are_renewed_all_the_time_wake_nobody_for_each`] |
//! | restart: every lease starts full | `outlives::a_lease_that_ran_out_stays_so_and_the_others_start_full` |
//! | ten or more registrations gone that no event announced | [`directory::a_loss_that_nobody_announced_is_held`], [`directory::a_loss_that_was_announced_is_not_held`] |
//! | a spec with an overlay hostname is removed | `scenarios/tombstone.txt`, `tombstone-taken-over.txt` |
//! | the same address in two apps | `scenarios/conflict-address.txt`, `conflict-address-moved.txt`, `view-address-reused.txt`; across restarts: `saved::what_was_served_and_why_outlives_the_process` |
//! | two apps claim one name | `scenarios/conflict-hostname.txt`, `conflict-domain.txt`, `conflict-incumbent.txt`, `conflict-cold-start.txt`; [`directory::a_file_held_back_at_the_start_loses_no_conflict`]; across restarts: `outlives::a_restart_serves_what_was_served_before_a_bad_edit_and_who_held_a_name_holds_it` |
//! | reserved names | [`hostile::reserved_names_are_refused`] |
//! | BOM, CRLF | [`hostile::a_mark_and_carriage_returns_are_taken`] |
//! | hostile contents, within 50 ms | [`hostile::hostile_contents_are_faults_with_a_place_and_bounded_memory`] |
//! | FIFO, socket, device, links, a directory called `x.yaml` | [`hostile::what_is_no_file_is_never_opened`] |
//! | state directory full, read-only | `outlives::a_full_and_a_read_only_state_directory_stop_saving_and_nothing_else`, `outlives::serving_goes_on_where_nothing_can_be_saved` |
//! | any byte of it corrupted | `saved::whatever_octet_is_wrong_what_is_served_was_served_before` |
//! | `kill -9` at any moment, within 200 ms | `outlives::whenever_a_process_is_killed_the_next_one_answers_as_it_did` |
//! | two servers on one state directory | `outlives::the_second_server_on_a_state_directory_serves_and_says_that_it_saves_nothing`, `saved::a_directory_that_another_has_is_read_and_not_written` |
//! | SIGHUP a thousand times | [`hostile::a_thousand_hangups_lose_nothing`] |
//!
//! What needs a mount, a namespace or another user says so where it cannot have it, and fails where
//! `SPACEDNS_TEST_REQUIRE_PEERS` is set.

mod directory;
mod hostile;
mod time;
mod writers;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::canary::{Addresses, Canary};
use crate::process::{PATIENCE, SPACEDNS, Server, drop_file, is_installed, poll};

const SPACE: &str = "space: acme\ncidr: 10.0.0.0/8\n";
/// The app and its instances: a spec, because one of its documents is.
const SHOP: &str = "shop.yaml";
/// Names that all stand for the instances of the app.
const NAMES: [&str; 2] = ["shop.herokuapp.com", "web.shop.app.localspace"];
/// Responses for which the canary is waited for where nothing is to happen: a second and a half.
const A_WHILE: usize = 150;

/// What [`SHOP`] holds: two instances that no other version has. Every version has as many octets.
fn shop(version: u16) -> String {
    let instances: Vec<String> = (addresses(version).iter().zip(1..))
        .map(|(address, number)| format!("  - {{component: web, number: {number}, address: {address}}}\n"))
        .collect();
    format!(
        "name: shop\ninternal_routing: true\nformation: {{web: {{quantity: 2}}}}\n---\napp: shop\ninstances:\n{}",
        instances.concat()
    )
}

fn addresses(version: u16) -> Addresses {
    [1, 2].map(|net| format!("10.{net}.{}.{}", 100 + version / 100, 100 + version % 100)).into()
}

fn registration(app: &str, number: u32, address: &str, more: &str) -> String {
    format!(r#"{{"app": "{app}", "component": "web", "number": {number}, "address": "{address}"{more}}}"#)
}

/// A directory with a space and the first version of an app.
fn directory() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    drop_file(directory.path(), "space.yaml", SPACE);
    drop_file(directory.path(), SHOP, &shop(0));
    directory
}

/// Serves a directory, with more arguments.
fn serve(directory: &Path, arguments: &[&str]) -> Server {
    Server::start(|port| spacedns(Command::new(SPACEDNS), directory, port, arguments))
}

fn spacedns(mut command: Command, directory: &Path, port: u16, arguments: &[&str]) -> Command {
    command.arg("serve").arg(directory);
    command.args(["--listen", &format!("127.0.0.1:{port}"), "--trust-subnet-from", "127.0.0.0/8"]).args(arguments);
    command
}

/// Serves a directory in a mount namespace of its own, in which `mount`, a shell script, is run first.
pub(crate) fn serve_mounted(mount: &str, directory: &Path, arguments: &[&str]) -> Server {
    Server::start(|port| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-ec", &format!("{mount}\nexec \"$0\" \"$@\"")]);
        command.arg(SPACEDNS);
        spacedns(command, directory, port, arguments)
    })
}

/// Runs a shell script among the mounts of a server.
pub(crate) fn inside(server: &Server, script: &str) {
    let done = poll(PATIENCE, || {
        // A mount that is busy for a moment is not busy for long.
        let target = format!("--target={}", server.id());
        let ended = Command::new("nsenter").args(["--mount", &target, "sh", "-ec", script]).status();
        ended.unwrap().success().then_some(())
    });
    assert!(done.is_some(), "{script}");
}

/// A path as a server sees it, from outside of its mounts.
fn seen_by(server: &Server, path: &Path) -> PathBuf {
    Path::new(&format!("/proc/{}/root", server.id())).join(path.strip_prefix("/").unwrap())
}

/// Whether mounts can be made here; says so where they cannot.
pub(crate) fn can_mount(test: &str) -> bool {
    can(test, "mount", Command::new("unshare").args(["--mount", "--propagation", "private", "true"]))
}

/// Whether something works here that a test needs; where `SPACEDNS_TEST_REQUIRE_PEERS` is set it has to.
fn can(test: &str, what: &str, trial: &mut Command) -> bool {
    let works = trial.output().is_ok_and(|output| output.status.success());
    let required = std::env::var_os("SPACEDNS_TEST_REQUIRE_PEERS").is_some();
    assert!(works || !required, "{test}: {what} is not possible here, and SPACEDNS_TEST_REQUIRE_PEERS is set");
    if !works {
        println!("{test} did not run: {what} is not possible here");
    }
    works
}

/// Waits until the log says something.
fn logged(server: &Server, words: &str) {
    let found = poll(PATIENCE, || server.log().contains(words).then_some(()));
    assert!(found.is_some(), "`{words}` is not logged:\n{}", server.log());
}

/// How many generations were made after the first.
fn generations(server: &Server) -> usize {
    server.log().matches("serving what changed").count()
}
