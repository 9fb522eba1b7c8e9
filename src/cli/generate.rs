//! `spacedns generate`: manual pages and completions, of the command line as it is declared, so that they cannot say anything else.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::args::LowArgs;

/// What to generate.
#[derive(Debug, Args)]
pub(crate) struct Generate {
    /// Where to: `man/` and `completions/` are made in it
    #[arg(value_name = "DIR")]
    to: PathBuf,
}

/// Writes everything.
///
/// # Errors
///
/// The directory cannot be written to.
pub(crate) fn run(generate: &Generate) -> Result<ExitCode, Box<dyn Error>> {
    let Generate { to } = generate;
    write(to).map_err(|error| format!("{}: cannot be written to: {error}", to.display()))?;
    Ok(ExitCode::SUCCESS)
}

fn write(to: &Path) -> std::io::Result<()> {
    let (pages, completions) = (to.join("man"), to.join("completions"));
    for directory in [&pages, &completions] {
        fs::create_dir_all(directory)?;
    }
    clap_mangen::generate_to(LowArgs::command(), &pages)?;
    let mut command = LowArgs::command();
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        clap_complete::generate_to(shell, &mut command, "spacedns", &completions)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_that_is_shown_has_a_page_and_every_shell_its_completions() {
        let home = tempfile::tempdir().unwrap();
        write(home.path()).unwrap();
        let command = LowArgs::command();
        for shown in command.get_subcommands().filter(|command| !command.is_hide_set()) {
            let page = home.path().join(format!("man/spacedns-{}.1", shown.get_name()));
            let page = fs::read_to_string(page).unwrap();
            for argument in shown.get_arguments().filter_map(|argument| argument.get_long()) {
                let option = argument.replace('-', "\\-");
                assert!(page.contains(&option), "{} {argument}", shown.get_name());
            }
        }
        for name in ["spacedns.bash", "spacedns.fish", "_spacedns"] {
            assert!(
                fs::read_to_string(home.path().join("completions").join(name)).unwrap().contains("serve"),
                "{name}"
            );
        }
    }
}
