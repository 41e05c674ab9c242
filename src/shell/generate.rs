//! What is made of the definition of the command line: completions for the shells of the system, and pages for `man`.

use std::io::{self, Write};

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use super::cli::{Cli, CompletionsArgs, ManArgs};
use super::failure::CommandFailure;

/// `bygone completions`.
pub fn completions(arguments: &CompletionsArgs) -> Result<(), CommandFailure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "bygone", &mut script);
    print(&script)
}

/// `bygone man`.
pub fn manual(arguments: &ManArgs) -> Result<(), CommandFailure> {
    let page = page(arguments.command.as_deref())?;
    print(&page)
}

fn page(name: Option<&str>) -> Result<Vec<u8>, CommandFailure> {
    let mut command = Cli::command();
    // Options that are good for all commands are told of each.
    command.build();
    let told = match name {
        None => &command,
        Some(name) => command.find_subcommand(name).ok_or_else(|| {
            let known: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
            CommandFailure::Usage(format!("there is no command {name}; there are {}", known.join(", ")))
        })?,
    };
    let mut page = Vec::new();
    Man::new(told.clone()).render(&mut page).map_err(CommandFailure::output)?;
    Ok(page)
}

fn print(text: &[u8]) -> Result<(), CommandFailure> {
    let mut output = io::stdout().lock();
    output.write_all(text).and_then(|()| output.flush()).map_err(CommandFailure::output)
}

#[cfg(test)]
mod tests {
    use clap_complete::Shell;

    use super::*;

    #[test]
    fn each_command_has_a_page_and_is_completed() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "bygone", &mut script);
            let script = String::from_utf8(script).unwrap();
            for command in Cli::command().get_subcommands() {
                assert!(script.contains(command.get_name()), "{shell}: {}", command.get_name());
            }
            assert!(script.contains("time-limit") && script.contains("markdown"), "{shell}");
        }
        for command in Cli::command().get_subcommands() {
            let page = String::from_utf8(page(Some(command.get_name())).unwrap()).unwrap();
            assert!(page.contains(".SH OPTIONS") && page.contains("read\\-only"), "{page}");
        }
        assert!(page(Some("frob")).is_err());
    }
}
