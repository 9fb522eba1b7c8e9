//! A network of our own in which every address of 10.0.0.0/8 is this machine's, so that the load may come from instances.
//!
//! A caller is known by its source address, and an instance never has one of 127.0.0.0/8. So this is a network namespace whose loopback
//! takes all of 10.0.0.0/8 as local: nothing of it is seen outside. It takes root.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

/// A process that holds the namespace; it goes when its input is closed.
pub(crate) struct Network {
    holder: Child,
}

impl Network {
    /// # Errors
    ///
    /// There is no root, or no `unshare` or `ip`: what they say.
    pub(crate) fn new() -> Result<Self, String> {
        let script = "ip link set lo up && ip route add local 10.0.0.0/8 dev lo && echo up && exec cat";
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("unshare: {error}"))?;
        let mut said = String::new();
        if let Some(output) = holder.stdout.take() {
            let _ = BufReader::new(output).read_line(&mut said);
        }
        let network = Self { holder };
        if said.trim() == "up" { Ok(network) } else { Err("a network namespace takes root, unshare and ip".to_owned()) }
    }

    /// What stands before a command that is to run in it.
    pub(crate) fn prefix(&self) -> Vec<String> {
        vec!["nsenter".to_owned(), format!("--net=/proc/{}/ns/net", self.holder.id())]
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}
