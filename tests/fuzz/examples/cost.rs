//! Counts the instructions of `respond` for each input of a corpus, and prints the dearest: `cost DIRECTORY...`.
//!
//! valgrind counts them, so the figures are the same on every machine that has the same instructions, and there need be no
//! counters to be had. It runs this program again, which answers each input once, and writes a count after each.

use std::env;
use std::fs;
use std::hint::black_box;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use spacedns_fuzz::respond::Question;
use spacedns_fuzz::world::SNAPSHOT;

/// Set in the run that is counted.
const INSIDE: &str = "SPACEDNS_COST_INSIDE";
/// How many of the dearest are printed.
const PRINTED: usize = 10;

fn main() -> io::Result<()> {
    let mut inputs = Vec::new();
    for directory in env::args_os().skip(1) {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            let octets = fs::read(&path)?;
            if Question::read(&octets).is_some() {
                inputs.push((path, octets));
            }
        }
    }
    inputs.sort();
    if env::var_os(INSIDE).is_some() {
        answer_all(&inputs);
        return Ok(());
    }
    let home = env::temp_dir().join(format!("spacedns-cost-{}", std::process::id()));
    fs::create_dir(&home)?;
    let counted = count(&home, &inputs);
    fs::remove_dir_all(&home)?;
    print(counted?, &inputs);
    Ok(())
}

fn answer_all(inputs: &[(PathBuf, Vec<u8>)]) {
    let mut room = vec![0; 65_535];
    // What is made once is made before anything is counted.
    for (_, octets) in inputs {
        black_box(Question::read(octets).and_then(|question| question.respond(&SNAPSHOT, &mut room)));
    }
    for (_, octets) in inputs {
        if let Some(question) = Question::read(octets) {
            black_box(measured(&question, &mut room));
        }
    }
}

/// What valgrind is told to count.
#[inline(never)]
fn measured(question: &Question<'_>, room: &mut [u8]) -> Option<usize> {
    question.respond(&SNAPSHOT, room)
}

/// The instructions of each input, in order.
fn count(home: &Path, inputs: &[(PathBuf, Vec<u8>)]) -> io::Result<Vec<u64>> {
    let status = Command::new("valgrind")
        .args(["--quiet", "--tool=callgrind"])
        .args(["--toggle-collect=cost::measured", "--dump-after=cost::measured"])
        .arg(format!("--callgrind-out-file={}", home.join("count").display()))
        .arg(env::current_exe()?)
        .args(env::args_os().skip(1))
        .env(INSIDE, "1")
        .status()?;
    assert!(status.success(), "valgrind: {status}");
    (1..=inputs.len()).map(|number| total(&home.join(format!("count.{number}")))).collect()
}

/// The total of one of callgrind's dumps.
fn total(dump: &Path) -> io::Result<u64> {
    let text = fs::read_to_string(dump)?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ").or_else(|| line.strip_prefix("summary: ")));
    total.and_then(|total| total.trim().parse().ok()).ok_or_else(|| io::Error::other("a dump without a total"))
}

fn print(counted: Vec<u64>, inputs: &[(PathBuf, Vec<u8>)]) {
    let mut counted: Vec<_> = counted.into_iter().zip(inputs).collect();
    counted.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    println!("{} inputs; instructions of the dearest:", counted.len());
    for (count, (path, octets)) in counted.iter().take(PRINTED) {
        println!("{count:>9}  {}  {}", path.display(), octets.escape_ascii());
    }
    if let Some((count, _)) = counted.get(counted.len() / 2) {
        println!("{count:>9}  in the middle");
    }
}
