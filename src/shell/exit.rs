//! Every exit code, in one place.

use std::process::ExitCode;

use bygone::error::ErrorClass;

/// How the program ended, for a script that started it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All went well; also when whoever read the output had enough of it.
    Success,
    /// It failed: the disk, damage, an output that cannot be written.
    Failed,
    /// The command line or a statement has to be written differently.
    Usage,
    /// The log is not as it was wanted, and nothing was written: look again, then decide.
    Refused,
    /// The file is held, is no database, or cannot be opened.
    Unopenable,
    /// Somebody ended it.
    Interrupted,
}

impl Exit {
    /// The number that the system gets.
    pub fn code(self) -> u8 {
        match self {
            Exit::Success => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Refused => 3,
            Exit::Unopenable => 4,
            // 128 + SIGINT, as shells have it.
            Exit::Interrupted => 130,
        }
    }
}

impl From<ErrorClass> for Exit {
    fn from(class: ErrorClass) -> Exit {
        match class {
            ErrorClass::Usage => Exit::Usage,
            ErrorClass::Refused => Exit::Refused,
            ErrorClass::Unopenable => Exit::Unopenable,
            // Class may grow; what is new is at least a failure.
            _ => Exit::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        exit.code().into()
    }
}

/// The table for `--help`.
pub const HELP: &str = "\
Exit codes:
  0    all went well
  1    it failed
  2    the command line or a statement is wrong
  3    the log is not as it was wanted; nothing was written
  4    the file is held by another process or cannot be opened
  130  interrupted";
