//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use crate::Result;

pub const USAGE: &str = "\
usage: bygone-bench [write|read|query|import|states|follow|views|private|share|parse|all] [options]

  --seconds <n>     how long each contestant runs in each round (2)
  --rounds <n>      how often each contestant has its turn (5)
  --events <n>      instead of a time: how many events each contestant writes in each round
  --preload <n>     how many events are in each store before (100,000)
  --only <names>    only contestants (for `parse`: shapes) whose names contain one of these, divided by commas
  --part <letters>  only these of the questions of `read` (abcde), or of 9 of `states` (abcdefg)
  --scenario <n>    only this one of the three of `write`, its conditions (10), of those of `states` (7, 8, 9), of `follow` (11, 12), of `private` (14, 15, 16), of `share` (17, 18)
  --size <n>        how many events or entities `states` has (1,000,000)
  --dir <folder>    where to put the files (the system's folder for temporary files)
  --flights <file>  the events to import and to ask about, JSON lines, gzipped (also: BYGONE_FLIGHTS)";

/// How long a turn is.
#[derive(Debug, Clone, Copy)]
pub enum Slice {
    Time(Duration),
    Events(usize),
}

#[derive(Debug)]
pub struct Arguments {
    what: String,
    pub slice: Slice,
    pub preload: usize,
    pub rounds: usize,
    only: Vec<String>,
    part: Option<String>,
    scenario: Option<usize>,
    pub size: u64,
    pub dir: PathBuf,
    pub flights: Option<PathBuf>,
}

impl Arguments {
    pub fn read(mut given: impl Iterator<Item = String>) -> Result<Arguments> {
        let mut arguments = Arguments {
            what: "all".to_owned(),
            slice: Slice::Time(Duration::from_secs(2)),
            preload: 100_000,
            rounds: 5,
            only: Vec::new(),
            part: None,
            scenario: None,
            size: 1_000_000,
            dir: std::env::temp_dir(),
            flights: std::env::var_os("BYGONE_FLIGHTS").map(PathBuf::from),
        };
        while let Some(argument) = given.next() {
            let mut value = || given.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "write" | "read" | "query" | "import" | "states" | "follow" | "views" | "private"
                | "share" | "parse" | "all" => arguments.what = argument,
                "--seconds" => {
                    arguments.slice = Slice::Time(Duration::try_from_secs_f64(value()?.parse()?)?);
                }
                "--events" => arguments.slice = Slice::Events(value()?.parse()?),
                "--preload" => arguments.preload = value()?.parse()?,
                "--rounds" => arguments.rounds = value()?.parse::<usize>()?.max(1),
                "--only" => arguments.only = value()?.split(',').map(str::to_lowercase).collect(),
                "--part" => arguments.part = Some(value()?),
                "--scenario" => arguments.scenario = Some(value()?.parse()?),
                "--size" => arguments.size = value()?.parse::<u64>()?.max(1),
                "--dir" => arguments.dir = value()?.into(),
                "--flights" => arguments.flights = Some(value()?.into()),
                _ => return Err(format!("what is '{argument}'?").into()),
            }
        }
        Ok(arguments)
    }

    pub fn wants(&self, what: &str) -> bool {
        self.what == what || self.what == "all"
    }

    pub fn wants_contestant(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part))
    }

    pub fn wants_part(&self, letter: &str) -> bool {
        self.part.as_ref().is_none_or(|wanted| wanted.contains(letter))
    }

    pub fn wants_scenario(&self, number: usize) -> bool {
        self.scenario.is_none_or(|wanted| wanted == number)
    }
}
