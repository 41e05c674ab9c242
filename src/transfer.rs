//! A stand-in until import and export are here.

use std::io::{BufRead, Write};

use crate::db::Db;
use crate::error::Result;
use crate::pattern::Pattern;

#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    pub restore: bool,
    pub batch: usize,
}
#[derive(Debug, Clone, Default)]
pub struct Progress {
    pub lines: u64,
    pub events: u64,
    pub bytes: u64,
}
#[derive(Debug, Clone, Default)]
pub struct Imported {
    pub events: u64,
    pub repeated: u64,
}

impl Db {
    pub fn import(
        &self,
        reader: impl BufRead,
        _: &ImportOptions,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Imported> {
        let lines = reader.lines().count() as u64;
        progress(&Progress { lines, events: lines, bytes: 0 });
        Ok(Imported { events: lines, repeated: 0 })
    }
    pub fn export(&self, _: &Pattern, mut writer: impl Write, _: &mut dyn FnMut(&Progress)) -> Result<u64> {
        let _ = writeln!(writer, "{{}}");
        Ok(1)
    }
}
