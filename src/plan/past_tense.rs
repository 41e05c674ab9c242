//! Past participles: what has happened where a verb was performed. `Approve` makes `approved`, `SignIn` makes `signedIn`.
//!
//! The first word of a name is the verb; what follows stays as it is, and so does an abbreviation before it: `HTTPGet` makes `httpGot`.
//! A name that says already what has happened is the participle: `Approved` makes `approved`. Verbs that are not in the [tables](mod@irregular) are spelt by
//! the rules, in the British way where the ways differ: `cancelled`. What is not plainly English has none.

mod irregular;
mod plain;

use irregular::{AGREED, DOUBLED, IRREGULAR, PREFIXES, REGULAR, SHORT, TOGETHER, VERBS};

/// The past participle of the name of a verb, its first letter small; nothing, where the verb may be of another language.
pub(crate) fn participle(name: &str) -> Option<String> {
    let verb = name.get(abbreviation(name)..)?;
    let first = verb.get(..first_word(verb))?.to_lowercase();
    (plain::is_plain(&first) || TOGETHER.iter().any(|(together, _)| *together == first)).then(|| made(name))
}

fn made(name: &str) -> String {
    if let Some((abbreviation, verb)) =
        name.split_at_checked(abbreviation(name)).filter(|(a, _)| !a.is_empty())
    {
        let end = first_word(verb);
        let (first, rest) = verb.split_at(end);
        return format!("{}{}{rest}", abbreviation.to_lowercase(), capital(&of_word(&first.to_lowercase())));
    }
    let end = first_word(name);
    let (first, rest) = name.split_at(end);
    let first = first.to_lowercase();
    if rest.is_empty()
        && let Some((_, participle)) = TOGETHER.iter().find(|(together, _)| *together == first)
    {
        return (*participle).to_owned();
    }
    format!("{}{rest}", of_word(&first))
}

/// Where an abbreviation ends that stands before a verb: `HTTP` of `HTTPGet`. One letter is none.
fn abbreviation(name: &str) -> usize {
    let mut end = 0;
    let mut letters = name.char_indices().peekable();
    for count in 0.. {
        match (letters.next(), letters.peek()) {
            (Some((_, c)), Some((at, next))) if c.is_uppercase() && next.is_uppercase() => end = *at,
            (Some((_, c)), Some((_, next))) if c.is_uppercase() && next.is_lowercase() && count > 1 => {
                return end;
            }
            _ => return 0,
        }
    }
    0
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Where the first word of a name ends: before the next capital behind a small letter, or what is no letter.
fn first_word(name: &str) -> usize {
    let mut before_is_small = false;
    for (at, c) in name.char_indices() {
        if !c.is_alphabetic() || before_is_small && c.is_uppercase() {
            return at;
        }
        before_is_small = c.is_lowercase();
    }
    name.len()
}

/// Of one word in small letters.
fn of_word(word: &str) -> String {
    match irregular(word) {
        Some(participle) => participle,
        None if has_happened(word) => word.to_owned(),
        None => regular(word),
    }
}

/// Whether a word is a participle already: one of the table, or what ends with `ed` behind a vowel, so that `shred` is none.
fn has_happened(word: &str) -> bool {
    if VERBS.contains(&word) {
        return false;
    }
    let is_regular = |stem: &str| match stem.ends_with('e') {
        true => AGREED.contains(&word),
        false => stem.len() > 1 && stem.contains(|c| is_vowel(c) || c == 'y'),
    };
    word.strip_suffix("ed").is_some_and(is_regular) || IRREGULAR.iter().any(|(_, done)| *done == word)
}

/// From the table, also behind prefixes: `undo`, `overtake`, `misunderstand`.
fn irregular(word: &str) -> Option<String> {
    if REGULAR.contains(&word) {
        return None;
    }
    let found = IRREGULAR.iter().find(|(verb, _)| *verb == word);
    if let Some((_, participle)) = found {
        return Some((*participle).to_owned());
    }
    PREFIXES.iter().find_map(|prefix| {
        let rest = word.strip_prefix(prefix)?;
        irregular(rest).map(|participle| format!("{prefix}{participle}"))
    })
}

/// By the rules of spelling.
fn regular(word: &str) -> String {
    let letters: Vec<char> = word.chars().collect();
    let before = |back: usize| letters.len().checked_sub(back).and_then(|at| letters.get(at)).copied();
    match (before(2), before(1)) {
        (_, None) => String::new(),
        (_, Some('e')) => format!("{word}d"),
        (Some(c), Some('y')) if c.is_alphabetic() && !is_vowel(c) => {
            format!("{}ied", word.strip_suffix('y').unwrap_or(word))
        }
        (Some(c), Some('c')) if is_vowel(c) => format!("{word}ked"),
        (_, Some(last)) if is_doubled(word, &letters) => format!("{word}{last}ed"),
        _ => format!("{word}ed"),
    }
}

/// Whether the last consonant is doubled: behind one short vowel that is stressed, and an `l` in any case.
fn is_doubled(word: &str, letters: &[char]) -> bool {
    if DOUBLED.contains(&word) || is_short_behind_a_prefix(word) {
        return true;
    }
    let [before @ .., vowel, last] = letters else { return false };
    let is_short = is_vowel(*vowel) && before.last().is_none_or(|c| !is_vowel(*c) || is_qu(before));
    let can_be = last.is_ascii_lowercase() && !is_vowel(*last) && !matches!(last, 'w' | 'x' | 'y' | 'h');
    is_short && can_be && (*last == 'l' && word != "parallel" || syllables(letters) == 1)
}

fn is_short_behind_a_prefix(word: &str) -> bool {
    PREFIXES.iter().any(|prefix| word.strip_prefix(prefix).is_some_and(|rest| SHORT.contains(&rest)))
}

/// How many groups of vowels there are.
fn syllables(letters: &[char]) -> usize {
    let is_sounded = |at: usize| match letters.get(at) {
        Some('u') => !is_qu(&letters[..=at]),
        Some('y') => at > 0,
        Some(c) => is_vowel(*c),
        None => false,
    };
    (0..letters.len()).filter(|at| is_sounded(*at) && (*at == 0 || !is_sounded(at - 1))).count()
}

/// Whether these letters end with `qu`, where `u` is no vowel.
fn is_qu(letters: &[char]) -> bool {
    letters.ends_with(&['q', 'u'])
}

fn is_vowel(c: char) -> bool {
    matches!(c, 'a' | 'e' | 'i' | 'o' | 'u')
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn verbs_become_what_has_happened() {
        let all = "
            Approve approved  Create created  Free freed  Agree agreed  Die died  Queue queued  Argue argued
            Pay paid  Send sent  Make made  Take taken  Write written  Set set  Put put  Buy bought  Sell sold
            Withdraw withdrawn  Begin begun  Choose chosen  Hold held  Lead led  Lend lent  Lose lost  Win won
            Undo undone  Redo redone  Rewrite rewritten  Overtake overtaken  Undertake undertaken  Understand understood
            Misunderstand misunderstood  Reset reset  Upset upset  Offset offset  Override overridden  Resend resent
            Withhold withheld  Rebuild rebuilt  Repay repaid  Prepay prepaid  Overpay overpaid  Outbid outbid
            Foresee foreseen  Forget forgotten  Forgive forgiven  Forbid forbidden  Forecast forecast  Become become
            Relay relayed  Delay delayed  Deploy deployed  Play played  Display displayed  Survey surveyed  Obey obeyed
            Carry carried  Apply applied  Verify verified  Deny denied  Reply replied  Modify modified  Try tried
            Ship shipped  Plan planned  Stop stopped  Ban banned  Pin pinned  Log logged  Drop dropped  Tag tagged
            Quiz quizzed  Squat squatted  Up upped  Equip equipped  Acquit acquitted
            Add added  Fix fixed  Tax taxed  Box boxed  Show shown  Follow followed  Renew renewed  Stay stayed
            Start started  Act acted  Ask asked  Aid aided  Need needed  Rain rained  Book booked  Claim claimed
            Cancel cancelled  Travel travelled  Label labelled  Signal signalled  Total totalled  Control controlled
            Enrol enrolled  Enroll enrolled  Compel compelled  Fulfil fulfilled  Fulfill fulfilled  Install installed
            Parallel paralleled  Email emailed  Mail mailed  Reveal revealed  Unveil unveiled  Detail detailed  Fail failed
            Dial dialled  Fuel fuelled  Initial initialled
            Submit submitted  Commit committed  Permit permitted  Admit admitted  Omit omitted  Emit emitted
            Refer referred  Prefer preferred  Defer deferred  Transfer transferred  Occur occurred  Incur incurred
            Visit visited  Open opened  Edit edited  Audit audited  Credit credited  Debit debited  Limit limited
            Exit exited  Deposit deposited  Offer offered  Order ordered  Enter entered  Alter altered  Answer answered
            Deliver delivered  Discover discovered  Recover recovered  Render rendered  Remember remembered  Gather gathered
            Register registered  Trigger triggered  Consider considered  Develop developed  Benefit benefited
            Market marketed  Target targeted  Ticket ticketed  Budget budgeted  Focus focused  Happen happened
            Abandon abandoned  Pardon pardoned  Assign assigned  Sign signed  Resign resigned  Return returned
            Format formatted  Program programmed  Worship worshipped  Kidnap kidnapped  Overlap overlapped
            Unplug unplugged  Unzip unzipped  Unpin unpinned  Remap remapped  Unwrap unwrapped  Debug debugged
            Reship reshipped  Reopen reopened  Reorder reordered  Reapprove reapproved  Reply replied
            Panic panicked  Mimic mimicked  Traffic trafficked  Picnic picnicked  Sync synced  Arc arced
            Publish published  Reject rejected  Dispatch dispatched  Process processed  Pass passed  Block blocked
            Fly flown  Know known  Grow grown  Draw drawn  See seen  Give given  Get got  Break broken  Freeze frozen
            Unfreeze unfrozen  Bind bound  Unbind unbound  Rewind rewound  Split split  Cut cut  Shut shut  Bid bid
            Run run  Rerun rerun  Come come  Read read  Reread reread  Broadcast broadcast  Input input
            Catch caught  Teach taught  Bring brought  Seek sought  Think thought  Fight fought
            Find found  Leave left  Keep kept  Meet met  Feed fed  Speed sped  Sleep slept  Spend spent  Bend bent
            Sing sung  Swim swum  Ring rung  Drink drunk  Shrink shrunk  Sink sunk  Stick stuck  Strike struck  Hang hung
            Fit fitted  Outfit outfitted  Retrofit retrofitted  Return returned  Respond responded  Release released
            Resume resumed  Remain remained  Request requested  Reset reset  Regret regretted  Rent rented
            SignIn signedIn  MarkPaid markedPaid  TakeOver takenOver  CheckOut checkedOut  OptOut optedOut
            PutOnHold putOnHold  SetUp setUp  ShipIT shippedIT  send_back sent_back  UNDO undone  approve approved
            Login loggedIn  Checkout checkedOut  Rollback rolledBack  X xed  Grüße -  Storniere -  Payer -  HTTPLiefere -
            Lie lied  Underlie underlain  Belie belied  XRay xrayed
            HTTPGet httpGot  URLEncode urlEncoded  SMSSendNow smsSentNow  PDFSetUp pdfSetUp  UNDO_ALL undone_ALL
            Approved approved  Paid paid  Sent sent  Applied applied  Agreed agreed  PaidOut paidOut  Done done  Used used
            Need needed  Seed seeded  Embed embedded  Shred shredded  Wed wedded  Proceed proceeded  Found founded
        ";
        let words: Vec<&str> = all.split_whitespace().collect();
        for pair in words.chunks(2) {
            let expected = (pair[1] != "-").then_some(pair[1]);
            assert_eq!(participle(pair[0]).as_deref(), expected, "{}", pair[0]);
        }
        assert!(words.len() > 400, "{}", words.len());
    }

    #[test]
    fn each_verb_is_in_a_table_once_and_says_what_the_rules_do_not() {
        let verbs: BTreeSet<&str> = IRREGULAR.iter().map(|(verb, _)| *verb).collect();
        assert_eq!(verbs.len(), IRREGULAR.len());
        assert!(verbs.len() >= 150, "{}", verbs.len());
        for (verb, participle) in IRREGULAR {
            assert_ne!(regular(verb), *participle, "the rules say so too");
        }
        for word in DOUBLED {
            let again = DOUBLED.iter().filter(|other| *other == word).count();
            assert!(again == 1 && !verbs.contains(word) && !is_short_behind_a_prefix(word), "{word}");
        }
        for word in REGULAR {
            let rests = PREFIXES.iter().filter_map(|prefix| word.strip_prefix(prefix));
            assert!(rests.into_iter().any(|rest| irregular(rest).is_some()), "{word} needs no exception");
        }
    }

    proptest! {
        /// Whatever the name: what follows the first word stays, and a regular verb ends as it should.
        #[test]
        fn what_follows_the_verb_stays(first in "[A-Z][a-z]{1,8}", rest in "([A-Z0-9_ ][a-z]{0,5}){0,3}") {
            let name = format!("{first}{rest}");
            let made = made(&name);
            prop_assert!(made.ends_with(&rest), "{} {}", name, made);
            prop_assert!(made.starts_with(|c: char| c.is_ascii_lowercase()));
            let regular = regular(&first.to_lowercase());
            prop_assert!(regular.ends_with("ed") && regular.len() <= first.len() + 3, "{}", regular);
        }

        #[test]
        fn any_name_has_one(name in "\\PC{0,12}") {
            let _ = participle(&name);
        }
    }
}
