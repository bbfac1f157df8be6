#[path = "../quickstart.rs"]
mod quickstart;
use clap::Parser;
use revealed::train::{Event, Observer};
#[derive(Parser)]
struct A {
    #[command(flatten)]
    a: quickstart::QuickstartArgs,
}
struct P;
impl Observer for P {
    fn observe(&mut self, e: &Event<'_>) {
        match e {
            Event::Step { at, steps, metrics }
                if at.step % (steps / 10).max(1) == 0 || at.step == 1 =>
            {
                let m: Vec<String> = metrics.iter().map(|(k, v)| format!("{k} {v:.3}")).collect();
                eprintln!("{at}/{steps} {}", m.join(" "));
            }
            Event::Ended { at, metrics } => eprintln!("{at} ended {metrics:?}"),
            Event::Note(n) => eprintln!("{n}"),
            _ => {}
        }
    }
}
fn main() -> anyhow::Result<()> {
    let a = A::parse().a;
    quickstart::quickstart(&a, &revealed::Device::flex(), &mut P)
}
