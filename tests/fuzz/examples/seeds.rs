//! Writes `seeds/`: queries for `respond`, `decode` and `framing` by the names and types below, and the files and octets of the scenario
//! pages. Run it in this directory after a change, and commit what it writes: `cargo run --example seeds`.

use std::fs;
use std::path::Path;

use spacedns_fuzz::world::CALLERS;

/// Names of the world, one for each way that a query can go.
const NAMES: [&str; 39] = [
    "web",
    "nobody",
    "_http._tcp.web",
    "_9000._tcp.api",
    "shop.herokuapp.com",
    "frozen-oasis-70544.herokuapp.com",
    "idle.herokuapp.com",
    "gone.herokuapp.com",
    "big.herokuapp.com",
    "archived.herokuapp.com",
    "A.b.apps.acme.internal",
    "b.apps.acme.internal",
    "nothing.apps.acme.internal",
    "api.example.com",
    "a.b.wild.example.com",
    "_x.wild.example.com",
    "gone.example.com",
    "whispering.willow.herokudns.com",
    "app.localspace",
    "localspace",
    "web.shop.app.localspace",
    "1.web.shop.app.localspace",
    "9.web.idle.apps.internal",
    "_http._tcp.web.big.app.localspace",
    "many.big.app.localspace",
    "1.129.0.10.in-addr.arpa",
    "0.10.in-addr.arpa",
    "1.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.0.0.0.0.0.0.a.0.0.0.0.0.d.f.ip6.arpa",
    "www.example.org",
    "",
    "localhost",
    "x.invalid",
    "home.arpa",
    "1.2.168.192.in-addr.arpa",
    "_dns.resolver.arpa",
    "_http._tcp.w.ab.d.e",
    "w.ab.d.e",
    "web.wide.d.e",
    "_http._tcp.a-process-type-as-long-as-a-label-may-be-that-is-63-octets-long.a-name-as-long-as-names-may-be-x.d.e",
];

/// Types, each asked of every name.
const TYPES: [u16; 6] = [1, 28, 33, 12, 6, 255];

fn main() -> std::io::Result<()> {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    for (number, name) in (0_u8..).zip(NAMES) {
        // All types and callers meet, not every pair of them: finding the others is what fuzzing is for.
        let qtype = TYPES[usize::from(number) % TYPES.len()];
        let plain = query(name, if number % 2 == 0 { 1 } else { qtype }, &[]);
        let (size, option) = OPTIONS[usize::from(number) % OPTIONS.len()];
        let edns = query(name, qtype, &opt(size, option));
        let caller = CALLER_OF[usize::from(number) % CALLER_OF.len()];
        write(&seeds, "decode", number, &edns)?;
        write(&seeds, "respond", number, &[&[caller, 8, 0, number], &plain[..]].concat())?;
        write(&seeds, "respond", 100 + number, &[&[caller, 1 | number << 1 & 6, 0, 0], &edns[..]].concat())?;
        let pieces = [frame(&plain), frame(&edns)].concat();
        let pieces: Vec<u8> = match number % 3 {
            0 => pieces.chunks(255).flat_map(piece).collect(),
            1 => pieces.chunks(7).flat_map(piece).collect(),
            _ => pieces[..pieces.len() - 3].chunks(40).flat_map(piece).collect(),
        };
        if number % 3 == 0 {
            write(&seeds, "framing", number, &pieces)?;
        }
    }
    // What takes most: a thousand of whatever there is, over a stream.
    for (number, (caller, name, qtype)) in (200_u8..).zip(LARGEST) {
        write(&seeds, "respond", number, &[&[caller, 2, 0, 0], &query(name, qtype, &[])[..]].concat())?;
    }
    pages(&seeds)
}

/// Callers, names and types of the largest responses.
const LARGEST: [(u8, &str, u16); 7] = [
    (7, "_http._tcp.web.big.app.localspace", 33),
    (7, "web.big.app.localspace", 1),
    (15, "_http._tcp.w.ab.d.e", 33),
    (15, "w.ab.d.e", 1),
    (15, "web.wide.d.e", 1),
    (15, "_http._tcp.web.wide.d.e", 33),
    (15, NAMES[38], 33),
];

/// Callers by their number: those on LANs most often.
const CALLER_OF: [u8; 5] = [0, 7, 1, 9, 10];

/// Sizes and options of OPT.
const OPTIONS: [(u16, &[u8]); 6] = [
    (1232, &[]),
    (512, b"\0\x08\0\x08\0\x01\x20\0\x0a\0\x81\x01"),
    (65535, b"\0\x0a\0\x08cookiess\0\x03\0\0"),
    (0, b"\0\x08\0\x04\0\x01\0\0"),
    (4096, b"\0\x0b\0\0\0\x0c\0\x04\0\0\0\0"),
    (1400, b"\xff\xff\0\x02ab"),
];

fn query(name: &str, qtype: u16, additional: &[u8]) -> Vec<u8> {
    let mut query = b"\x2a\x5c\x01\0\0\x01\0\0\0\0\0\0".to_vec();
    query[11] = u8::from(!additional.is_empty());
    for label in name.split('.').filter(|label| !label.is_empty()) {
        query.push(u8::try_from(label.len()).expect("63 at most"));
        query.extend(label.bytes());
    }
    query.push(0);
    query.extend(qtype.to_be_bytes());
    query.extend([0, 1]);
    query.extend(additional);
    query
}

fn opt(size: u16, options: &[u8]) -> Vec<u8> {
    let length = u16::try_from(options.len()).expect("a few");
    [&b"\0\0\x29"[..], &size.to_be_bytes(), b"\0\0\x80\0", &length.to_be_bytes(), options].concat()
}

fn frame(message: &[u8]) -> Vec<u8> {
    [&u16::try_from(message.len()).expect("a query").to_be_bytes(), message].concat()
}

fn piece(octets: &[u8]) -> Vec<u8> {
    [&[u8::try_from(octets.len()).expect("255 at most")], octets].concat()
}

/// The files that the scenario pages drop, and the octets that they send.
fn pages(seeds: &Path) -> std::io::Result<()> {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../all/scenarios");
    let mut number = 0;
    let mut paths: Vec<_> = fs::read_dir(pages)?.collect::<Result<_, _>>()?;
    paths.sort_by_key(fs::DirEntry::path);
    for page in paths {
        let text = fs::read_to_string(page.path())?;
        let title = page.file_name().to_string_lossy().trim_end_matches(".txt").to_owned();
        let mut file = String::new();
        let mut target = "yaml";
        for (index, line) in text.lines().chain(["end"]).enumerate() {
            if let Some(inside) = line.strip_prefix("    ") {
                file += inside;
                file.push('\n');
                continue;
            }
            // What is indented below a query is the response, and is dropped with it.
            if is_worth(&file, target) {
                let directory = seeds.join(target);
                fs::create_dir_all(&directory)?;
                fs::write(directory.join(format!("{title}-{index}")), &file)?;
            }
            file.clear();
            target = match line.split_once(' ') {
                Some(("file", path)) if path.ends_with(".json") && text.contains("\"apps\"") => "topology",
                Some(("file", path)) if path.ends_with(".json") => "registration",
                Some(("file", _)) => "yaml",
                _ => "",
            };
            if let Some((digits, _)) = line.strip_prefix("send ").and_then(|line| line.split_once(" from")) {
                let digits: Vec<u8> = digits.bytes().filter(u8::is_ascii_hexdigit).collect();
                let octets: Vec<u8> = digits
                    .chunks(2)
                    .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
                    .collect();
                number += 1;
                write(seeds, "decode", 100 + number, &octets)?;
            }
        }
    }
    assert_eq!(CALLERS.len(), 16, "the callers' numbers above");
    Ok(())
}

/// Of pages that say much the same, the longer files.
fn is_worth(file: &str, target: &str) -> bool {
    match target {
        "" => false,
        "yaml" => file.len() > 160,
        "registration" => file.len() > 76,
        _ => true,
    }
}

fn write(seeds: &Path, target: &str, number: u8, octets: &[u8]) -> std::io::Result<()> {
    let directory = seeds.join(target);
    fs::create_dir_all(&directory)?;
    fs::write(directory.join(format!("{number:03}")), octets)
}
