//! A bank account: what can happen to it, what it is, and what may be asked of it. `cargo run --example account`.

use bygone::append::CommandError;
use bygone::project::SnapshotPolicy;
use bygone::{Aggregate, Db, Decide, Event, NewEvent, Result};
use serde::{Deserialize, Serialize};

/// What can happen: `Account.opened`, `Account.deposited`, `Account.withdrawn`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "camelCase")]
enum AccountEvent {
    Opened { owner: String },
    Deposited { amount: i64 },
    Withdrawn { amount: i64 },
}

/// What it is, as far as anything is decided by it.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Account {
    owner: Option<String>,
    balance: i64,
}

impl Aggregate for Account {
    const KIND: &'static str = "Account";

    fn apply(&mut self, event: &Event) -> Result<()> {
        match event.parse()? {
            AccountEvent::Opened { owner } => self.owner = Some(owner),
            AccountEvent::Deposited { amount } => self.balance += amount,
            AccountEvent::Withdrawn { amount } => self.balance -= amount,
        }
        Ok(())
    }

    /// A long history is not read from its beginning each time. The name changes whenever `apply` does.
    fn snapshots() -> Option<SnapshotPolicy<Account>> {
        Some(SnapshotPolicy::named("account-1"))
    }
}

/// What may be asked of it.
enum AccountCommand {
    Open { owner: String },
    Deposit(i64),
    Withdraw(i64),
}

/// Why it says no.
#[derive(Debug, PartialEq, thiserror::Error)]
enum Refusal {
    #[error("there is such an account already")]
    Exists,
    #[error("there is no such account")]
    Missing,
    #[error("there are only {balance}")]
    NotEnough { balance: i64 },
}

impl Decide for Account {
    type Command = AccountCommand;
    type Event = AccountEvent;
    type Refusal = Refusal;

    fn decide(&self, command: &AccountCommand) -> Result<Vec<AccountEvent>, Refusal> {
        let event = match (command, &self.owner) {
            (AccountCommand::Open { owner }, None) => AccountEvent::Opened { owner: owner.clone() },
            (AccountCommand::Open { .. }, Some(_)) => return Err(Refusal::Exists),
            (_, None) => return Err(Refusal::Missing),
            (&AccountCommand::Deposit(amount), _) => AccountEvent::Deposited { amount },
            (&AccountCommand::Withdraw(amount), _) if amount > self.balance => {
                return Err(Refusal::NotEnough { balance: self.balance });
            }
            (&AccountCommand::Withdraw(amount), _) => AccountEvent::Withdrawn { amount },
        };
        Ok(vec![event])
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let db = Db::in_memory()?; // or Db::create("bank.bygone")

    db.execute::<Account>("7", AccountCommand::Open { owner: "ann".to_owned() })?;
    db.execute::<Account>("7", AccountCommand::Deposit(50))?;
    let done = db.execute::<Account>("7", AccountCommand::Withdraw(20))?;
    println!("{} after {}: {}", done.state.target, done.state.version, done.state.balance);
    assert_eq!(done.state.balance, 30);

    // The account says no. Nothing was written.
    match db.execute::<Account>("7", AccountCommand::Withdraw(80)) {
        Err(CommandError::Refused(no)) => println!("refused: {no}"),
        Err(CommandError::Failed(error)) => return Err(error.into()),
        Ok(_) => unreachable!("80 of 30"),
    }

    // A request that comes twice is executed once.
    for _ in 0..2 {
        let deposit = db.command::<Account>("7", AccountCommand::Deposit(5));
        deposit.by(("User", "ann")).key("request-81").execute()?;
    }
    assert_eq!(db.aggregate::<Account>("7")?.balance, 35);

    // What is learned late is told when it occurred, and the past is asked what it was.
    let found = NewEvent::typed(("Account", "7"), &AccountEvent::Deposited { amount: 1000 });
    db.append(found.at("2024-01-31".parse()?))?;
    let then = db.aggregate_at::<Account>("7", "2024-02-01")?;
    println!("on 1 February 2024: {}", then.balance);
    assert_eq!((then.balance, db.aggregate::<Account>("7")?.balance), (1000, 1035));
    Ok(())
}

#[cfg(test)]
mod tests {
    use bygone::testing::{given, given_nothing};

    use super::*;

    fn opened() -> AccountEvent {
        AccountEvent::Opened { owner: "ann".to_owned() }
    }

    #[test]
    fn nobody_withdraws_what_is_not_there() {
        given::<Account>([opened(), AccountEvent::Deposited { amount: 50 }])
            .when(AccountCommand::Withdraw(20))
            .then([AccountEvent::Withdrawn { amount: 20 }])
            .when(AccountCommand::Withdraw(31))
            .then_refused(Refusal::NotEnough { balance: 30 });
    }

    #[test]
    fn an_account_is_opened_once() {
        given_nothing::<Account>()
            .when(AccountCommand::Deposit(1))
            .then_refused(Refusal::Missing)
            .when(AccountCommand::Open { owner: "ann".to_owned() })
            .then([opened()])
            .when(AccountCommand::Open { owner: "ben".to_owned() })
            .then_refused(Refusal::Exists);
    }

    #[test]
    fn all_of_it_runs() {
        main().unwrap();
    }
}
