//! The program `bygone`: a shell around the library, and nothing that the library does not offer to any other program.
#![forbid(unsafe_code)]

mod shell;

fn main() -> std::process::ExitCode {
    shell::main().into()
}
