//! Chromium, driven as the WebDriver specification says (W3C): what a test has it open, click and type.
//!
//! It has an empty profile of its own, and asks nobody but who a test has it ask. Every command has a deadline, and the browser ends
//! with the value that stands for it. A WebDriver client from a crate would bring a runtime for a dozen requests.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::process::{PATIENCE, is_installed, poll};

/// A browser with one page.
pub(crate) struct Browser {
    driver: Child,
    address: SocketAddr,
    /// `/session/ID`.
    session: String,
    _home: tempfile::TempDir,
}

/// An element of the page.
pub(crate) struct Element(String);

impl Browser {
    /// Starts one; `None` where there is none, which is said.
    pub(crate) fn start() -> Option<Self> {
        if !["chromium", "chromedriver"].into_iter().all(is_installed) {
            println!("NOT RUN: chromium or chromedriver is not here, and no browser was asked");
            return None;
        }
        let home = tempfile::tempdir().unwrap();
        let said = home.path().join("said");
        let output = File::create(&said).unwrap();
        let driver = Command::new("chromedriver")
            .arg("--port=0")
            .env("HOME", home.path())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut browser =
            Self { driver, address: (Ipv4Addr::LOCALHOST, 0).into(), session: String::new(), _home: home };
        let port = poll(PATIENCE, || {
            let said = std::fs::read_to_string(&said).unwrap_or_default();
            said.split_once("successfully on port ")?.1.split('.').next()?.parse::<u16>().ok()
        });
        browser.address.set_port(port.expect("chromedriver says its port"));
        let profile = format!("--user-data-dir={}", browser._home.path().join("profile").display());
        let mut arguments = FLAGS.to_vec();
        arguments.push(&profile);
        let wanted = json!({
            "capabilities": { "alwaysMatch": {
                "goog:chromeOptions": { "args": arguments },
                "goog:loggingPrefs": { "performance": "ALL" },
            } }
        });
        let session = browser.ask("POST", "/session", &wanted);
        browser.session = format!("/session/{}", session["sessionId"].as_str().unwrap());
        Some(browser)
    }

    /// Opens a page, and waits until it is loaded.
    pub(crate) fn open(&self, url: &str) {
        self.tell("/url", &json!({ "url": url }));
    }

    /// The element that a CSS selector finds first.
    pub(crate) fn find(&self, selector: &str) -> Element {
        let found = self.tell("/element", &json!({ "using": "css selector", "value": selector }));
        let id = found.as_object().and_then(|found| found.values().next()?.as_str());
        Element(id.unwrap_or_else(|| panic!("{selector}: {found}")).to_owned())
    }

    /// Clicks on an element, where a person would.
    pub(crate) fn click(&self, selector: &str) {
        let Element(id) = self.find(selector);
        self.tell(&format!("/element/{id}/click"), &json!({}));
    }

    /// Types into an element, in the place of what is in it.
    pub(crate) fn fill(&self, selector: &str, text: &str) {
        let Element(id) = self.find(selector);
        self.tell(&format!("/element/{id}/clear"), &json!({}));
        self.tell(&format!("/element/{id}/value"), &json!({ "text": text }));
    }

    /// Presses a key, wherever the focus is.
    pub(crate) fn press(&self, key: char) {
        let key = key.to_string();
        let strokes = json!([{ "type": "keyDown", "value": key }, { "type": "keyUp", "value": key }]);
        self.tell("/actions", &json!({ "actions": [{ "type": "key", "id": "keys", "actions": strokes }] }));
    }

    /// What a function's body comes to, run in the page.
    pub(crate) fn run(&self, body: &str) -> Value {
        self.tell("/execute/sync", &json!({ "script": body, "args": [] }))
    }

    /// Waits until an expression is true of the page.
    pub(crate) fn expect(&self, expression: &str) {
        let reached =
            poll(PATIENCE, || (self.run(&format!("return !!({expression})")) == Value::Bool(true)).then_some(()));
        assert!(reached.is_some(), "never: {expression}\n{}", self.source());
    }

    /// The page as it stands.
    pub(crate) fn source(&self) -> String {
        self.run("return document.documentElement.outerHTML").as_str().unwrap().to_owned()
    }

    /// Has the page be so wide, in a scheme of colours.
    pub(crate) fn dress(&self, width: u32, scheme: &str) {
        let metrics = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.chromium("Emulation.setDeviceMetricsOverride", &metrics);
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.chromium("Emulation.setEmulatedMedia", &json!({ "features": [feature] }));
    }

    /// Turns JavaScript off for the pages that are opened from now on.
    pub(crate) fn without_scripts(&self) {
        self.chromium("Emulation.setScriptExecutionDisabled", &json!({ "value": true }));
    }

    /// A picture of what is seen, as PNG.
    pub(crate) fn picture(&self) -> Vec<u8> {
        let text = self.ask("GET", &format!("{}/screenshot", self.session), &Value::Null);
        from_base64(text.as_str().unwrap())
    }

    /// The addresses that were asked for since this was asked last.
    pub(crate) fn requests(&self) -> Vec<String> {
        let log = self.tell("/se/log", &json!({ "type": "performance" }));
        let events = log.as_array().unwrap().iter();
        let events = events.filter_map(|entry| serde_json::from_str::<Value>(entry["message"].as_str()?).ok());
        let sent = events.filter(|event| event["message"]["method"] == "Network.requestWillBeSent");
        sent.filter_map(|event| event["message"]["params"]["request"]["url"].as_str().map(ToOwned::to_owned)).collect()
    }

    /// A command of Chromium's own protocol.
    fn chromium(&self, command: &str, parameters: &Value) -> Value {
        self.tell("/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    fn tell(&self, path: &str, body: &Value) -> Value {
        self.ask("POST", &format!("{}{path}", self.session), body)
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        self.exchange(method, path, body).unwrap_or_else(|why| panic!("{method} {path}: {why}"))
    }

    fn exchange(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let exchanged = TcpStream::connect(self.address).and_then(|mut stream| {
            stream.set_read_timeout(Some(COMMAND_TIME))?;
            let length = text.len();
            write!(
                stream,
                "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
                 Content-Length: {length}\r\n\r\n{text}"
            )?;
            read_response(&mut stream)
        });
        let body = exchanged.map_err(|error| error.to_string())?;
        let response: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        match response.get("value") {
            Some(value) if value.get("error").is_none() => Ok(value.clone()),
            _ => Err(response.to_string()),
        }
    }
}

/// Reads a response's body, by its length: the connection may stay open whatever was asked.
fn read_response(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut octet = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut octet)?;
        head.push(octet[0]);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body)?;
    Ok(body)
}

/// What stands in base64 (RFC 4648 §4), which only WebDriver makes us read.
fn from_base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.bytes().filter_map(|octet| ALPHABET.iter().position(|digit| *digit == octet));
    let digits: Vec<usize> = digits.collect();
    let quads = digits.chunks(4).flat_map(|quad| {
        let bits = quad.iter().enumerate().fold(0, |bits, (place, digit)| bits | digit << (18 - 6 * place));
        let octets = [bits >> 16, bits >> 8, bits].map(|octet| u8::try_from(octet & 0xff).unwrap());
        octets.into_iter().take(quad.len() - 1)
    });
    quads.collect()
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends Chromium in order; the driver goes with its group, whatever came of that.
        if !self.session.is_empty() {
            let _ = self.exchange("DELETE", &self.session, &Value::Null);
        }
        let _ = Command::new("sh").arg("-c").arg(format!("kill -s KILL -- -{} 2>/dev/null", self.driver.id())).status();
        let _ = self.driver.wait();
    }
}

/// Without a sandbox, which root cannot have, and without whatever talks to others or shares memory that a container may not have.
const FLAGS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--no-proxy-server",
];

/// How long a command may take: loading a page, on a machine that has much else to do.
const COMMAND_TIME: Duration = Duration::from_secs(60);
