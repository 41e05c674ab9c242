//! Parsing is linear: a text of twice the length takes twice the time, whatever its shape.

use std::time::{Duration, Instant};

use bygone::read::Script;

use crate::table::median;
use crate::{Arguments, Result};

/// So large is the smaller of two texts, by the measure of its shape.
const SIZE: usize = 20_000;

/// More than this is not linear.
const MOST: f64 = 2.5;

/// A turn goes on at least so long, and is divided by how often it parsed: a short text alone is too quick for a clock.
const TURN: Duration = Duration::from_millis(20);

pub fn run(arguments: &Arguments) -> Result<()> {
    println!("\nParsing, n = {SIZE}: milliseconds (medians of {} turns each)\n", arguments.rounds);
    println!("| {:<28} | {:>9} | {:>9} | {:>6} |", "", "n", "2n", "ratio");
    println!("|{:-<30}|{:->11}|{:->11}|{:->8}|", "", ":", ":", ":");
    let mut over = Vec::new();
    for (shape, text) in bygone::fuzzing::shapes() {
        if !arguments.wants_contestant(shape) {
            continue;
        }
        let texts = [text(SIZE), text(2 * SIZE)];
        let mut times = [Vec::new(), Vec::new()];
        for round in 0..arguments.rounds {
            // The one and the other come first by turns.
            for which in [round % 2, 1 - round % 2] {
                times[which].push(turn(&texts[which]));
            }
        }
        let [one, two] = times.map(|times| median(times.into_iter()));
        println!("| {shape:<28} | {:>9.3} | {:>9.3} | {:>6.2} |", one * 1e3, two * 1e3, two / one);
        if two / one > MOST {
            over.push(*shape);
        }
    }
    match over.as_slice() {
        [] => println!("pass: twice the text takes at most {MOST} times as long"),
        shapes => println!("FAIL: more than {MOST} times as long: {}", shapes.join(", ")),
    }
    Ok(())
}

/// Seconds that it takes to parse a text, or to say what is wrong with it.
fn turn(text: &str) -> f64 {
    let (start, mut count) = (Instant::now(), 0);
    while count == 0 || start.elapsed() < TURN {
        if let Err(error) = Script::parse(std::hint::black_box(text)) {
            std::hint::black_box(error.to_string());
        }
        count += 1;
    }
    start.elapsed().as_secs_f64() / f64::from(count)
}
