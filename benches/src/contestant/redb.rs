//! redb: a row and its index rows in two tables, one transaction an append.

use std::path::Path;

use redb::{Database, ReadableTable, TableDefinition};

use super::{Store, Writer};
use crate::Result;
use crate::event::Sample;

const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
const INDEX: TableDefinition<&[u8], ()> = TableDefinition::new("index");

struct Redb(Database);

pub fn open(folder: &Path) -> Result<Box<dyn Store>> {
    let database = redb::Builder::new().set_cache_size(128 << 20).create(folder.join("events.redb"))?;
    Ok(Box::new(Redb(database)))
}

impl Store for Redb {
    fn writer(&self) -> Result<Box<dyn Writer + '_>> {
        Ok(Box::new(&self.0))
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

impl Writer for &Database {
    fn append(&mut self, events: &[Sample]) -> Result<()> {
        let transaction = self.begin_write()?;
        {
            let mut log = transaction.open_table(LOG)?;
            let mut index = transaction.open_table(INDEX)?;
            let first = log.last()?.map_or(1, |(position, _)| position.value() + 1);
            for (position, event) in (first..).zip(events) {
                log.insert(position, event.row().as_slice())?;
                for key in event.index_rows(position) {
                    index.insert(key.as_slice(), ())?;
                }
            }
        }
        Ok(transaction.commit()?)
    }
}
