//! The events that are written: about 250 bytes each, found by entity, type and actor.

use serde::{Deserialize, Serialize};

/// How many entities, types and actors there are.
pub const ENTITIES: u64 = 10_000;
const ACTORS: u64 = 500;
pub const TYPES: [&str; 8] = [
    "Order.created",
    "Order.changed",
    "Order.approved",
    "Order.paid",
    "Order.packed",
    "Order.shipped",
    "Order.delivered",
    "Order.returned",
];

/// What an application has in its hands before it writes an event.
#[derive(Debug, Clone)]
pub struct Sample {
    pub kind: &'static str,
    pub entity: u64,
    pub actor: String,
    pub data: Data,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Data {
    pub order: String,
    pub total: u64,
    pub currency: String,
    pub customer: String,
    pub note: String,
    pub lines: u32,
    pub express: bool,
    pub warehouse: String,
}

impl Data {
    /// A number of all its members, to see that none was read as another.
    pub fn digest(&self) -> u64 {
        let texts = [&self.order, &self.currency, &self.customer, &self.note, &self.warehouse];
        let texts = texts.iter().map(|text| {
            let end = text.as_bytes().last().copied().unwrap_or_default();
            text.len() as u64 * 31 + u64::from(end)
        });
        texts.sum::<u64>() + self.total * 7 + u64::from(self.lines) * 3 + u64::from(self.express)
    }
}

impl Sample {
    pub fn new(random: &mut Random) -> Sample {
        let entity = random.below(ENTITIES);
        Sample::of(entity, random)
    }

    pub fn of(entity: u64, random: &mut Random) -> Sample {
        Sample {
            kind: TYPES[random.below(TYPES.len() as u64) as usize],
            entity,
            actor: format!("user-{}", random.below(ACTORS)),
            data: Data {
                order: format!("ORD-2026-{entity:06}"),
                total: random.below(1_000_000),
                currency: "EUR".to_owned(),
                customer: format!("customer-{:08x}", random.below(1 << 32)),
                note: format!("{:016x} leave it with the neighbours", random.next()),
                lines: random.below(20) as u32,
                express: random.below(2) == 1,
                warehouse: format!("hall-{}", random.below(40)),
            },
        }
    }

    /// The event as a row of bytes, for those who store rows.
    pub fn row(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(320);
        for part in ["Order", &self.entity.to_string(), self.kind, &self.actor] {
            row.push(part.len() as u8);
            row.extend_from_slice(part.as_bytes());
        }
        // Writing a struct of text and numbers into memory does not fail.
        let _ = serde_json::to_writer(&mut row, &self.data);
        row
    }

    /// Its three index rows, for those who keep such: what it is found by, then its position.
    pub fn index_rows(&self, position: u64) -> [Vec<u8>; 3] {
        let key = |space: u8, text: &str| {
            let mut key = Vec::with_capacity(text.len() + 10);
            key.push(space);
            key.extend_from_slice(text.as_bytes());
            key.push(0);
            key.extend_from_slice(&position.to_be_bytes());
            key
        };
        [key(1, &format!("Order {}", self.entity)), key(2, self.kind), key(3, &self.actor)]
    }
}

/// Numbers that look random and are the same in each run (SplitMix64).
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
