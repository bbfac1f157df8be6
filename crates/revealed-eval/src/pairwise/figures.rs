//! From games to win rates.

use std::collections::BTreeMap;

use serde_json::{Map, json};

use super::{Game, Match, Played, Winner};
use crate::preferences::Accuracy;
use crate::record::{Figure, Item};

/// Figures and items of two models' matches.
#[derive(Debug, Clone, PartialEq)]
pub struct Tally {
    /// Over all matches, each turn and each category: `win_rate`, `loss_rate` and `tie_rate` of the first model, and
    /// `win_rate_adjusted`, in which a tie counts half. Over all: `agreement`, the share of matches whose two orders give
    /// one verdict; `first_position`, the share of decided games that the answer shown first won, ½ without bias; and
    /// the counts `unparsed`, `failed` and `cut`, whose `n` is all games.
    pub figures: Vec<Figure>,
    /// A match each, with the first model's `win` (1, ½ or 0).
    pub items: Vec<Item>,
}

/// A match with both verdicts.
struct Decided<'a> {
    of: &'a Match,
    winners: [Winner; 2],
}

impl Decided<'_> {
    /// The first model's points: a win counts only where both orders agree on it.
    fn points(&self) -> f64 {
        match self.winners {
            [Winner::First, Winner::First] => 1.0,
            [Winner::Second, Winner::Second] => 0.0,
            _ => 0.5,
        }
    }
}

/// Summarizes matches; `played` has the rounds of all of them. Intervals are Wilson's, with the matches of one question,
/// its turns and rounds, taken together.
pub fn tally(matches: &[Match], played: &Played) -> Tally {
    let rounds = || played.games.iter().zip(matches.iter().cycle());
    let decided: Vec<Decided<'_>> = rounds()
        .filter_map(|(games, of)| match games.each_ref().map(|game| game.as_ref()?.decided()) {
            [Some(first), Some(second)] => Some(Decided { of, winners: [first, second] }),
            _ => None,
        })
        .collect();
    let mut figures = Vec::new();
    for (subset, holds) in subsets(matches) {
        let chosen: Vec<&Decided<'_>> = decided.iter().filter(|each| holds(each.of)).collect();
        let mut rate = |name: &str, points: fn(&Decided<'_>) -> f64| {
            let values = chosen.iter().map(|each| (each, points(each)));
            figures.extend(share(
                name,
                subset.clone(),
                values.map(|(each, value)| (each.of, value)),
            ));
        };
        rate("win_rate", |each| f64::from(u8::from(each.points() == 1.0)));
        rate("loss_rate", |each| f64::from(u8::from(each.points() == 0.0)));
        rate("tie_rate", |each| f64::from(u8::from(each.points() == 0.5)));
        rate("win_rate_adjusted", |each| each.points());
    }
    let agree = |each: &Decided<'_>| f64::from(u8::from(each.winners[0] == each.winners[1]));
    figures.extend(share("agreement", None, decided.iter().map(|each| (each.of, agree(each)))));
    let games =
        || rounds().flat_map(|(games, of)| games.iter().flatten().map(move |game| (of, game)));
    let first = games().filter_map(|(of, game)| Some((of, game.won_by_first_shown()?)));
    figures.extend(share("first_position", None, first));
    let count = |name: &str, value: usize| Figure {
        name: name.into(),
        subset: None,
        value: value as f64,
        interval: None,
        n: 2 * played.games.len(),
        parts: Vec::new(),
    };
    figures.push(count("unparsed", games().filter(|(_, game)| game.decided().is_none()).count()));
    figures.push(count("failed", 2 * played.games.len() - games().count()));
    figures.push(count("cut", games().filter(|(_, game)| game.cut).count()));
    Tally { figures, items: items(matches, played) }
}

impl Game {
    /// The winner, a tie included; none without a verdict.
    fn decided(&self) -> Option<Winner> {
        Some(self.winner).filter(|winner| *winner != Winner::Error)
    }

    /// 1 where the answer shown first won, 0 where the other did.
    fn won_by_first_shown(&self) -> Option<f64> {
        match (self.winner, self.game) {
            (Winner::First, 1) | (Winner::Second, 2) => Some(1.0),
            (Winner::First | Winner::Second, _) => Some(0.0),
            _ => None,
        }
    }
}

type Holds<'a> = Box<dyn Fn(&Match) -> bool + 'a>;

/// All matches, each turn where there are several, each category.
fn subsets(matches: &[Match]) -> Vec<(Option<String>, Holds<'_>)> {
    let mut all: Vec<(Option<String>, Holds<'_>)> = vec![(None, Box::new(|_| true))];
    let last = matches.iter().map(|each| each.turn).max().unwrap_or(0);
    for turn in (1..=last).filter(|_| last > 1) {
        all.push((Some(format!("turn {turn}")), Box::new(move |each| each.turn == turn)));
    }
    for category in matches.iter().filter_map(|each| each.category.as_deref()) {
        if !all.iter().any(|(name, _)| name.as_deref() == Some(category)) {
            let holds = move |each: &Match| each.category.as_deref() == Some(category);
            all.push((Some(category.into()), Box::new(holds)));
        }
    }
    all
}

/// The mean of values in [0, 1].
fn share<'a>(
    name: &str,
    subset: Option<String>,
    values: impl Iterator<Item = (&'a Match, f64)>,
) -> Option<Figure> {
    // As scores of a pair, whose order is then worth the value.
    let pairs: Vec<_> = values.map(|(of, value)| (&of.question_id, [value, 1.0 - value])).collect();
    let accuracy = Accuracy::of(pairs.iter().map(|(question, scores)| (*question, scores)));
    let (low, high) = accuracy.interval();
    (accuracy.pairs > 0).then(|| Figure {
        name: name.into(),
        subset,
        value: accuracy.share(),
        interval: Some([low, high]),
        n: accuracy.pairs,
        parts: Vec::new(),
    })
}

fn items(matches: &[Match], played: &Played) -> Vec<Item> {
    let item = |(at, of): (usize, &Match)| {
        let rounds = played.games.iter().skip(at).step_by(matches.len());
        let (mut points, mut winners) = (Vec::new(), Vec::new());
        for games in rounds {
            winners.push(json!(games.each_ref().map(|game| game.as_ref().map(|game| game.winner))));
            if let [Some(first), Some(second)] =
                games.each_ref().map(|game| game.as_ref().and_then(Game::decided))
            {
                points.push(Decided { of, winners: [first, second] }.points());
            }
        }
        let mut values = BTreeMap::new();
        if !points.is_empty() {
            values.insert("win".into(), points.iter().sum::<f64>() / points.len() as f64);
        }
        let detail = Map::from_iter([("winners".into(), json!(winners))]);
        let id = format!("{}/{}", of.question_id, of.turn);
        Item { id, subset: of.category.clone(), values, detail }
    };
    matches.iter().enumerate().map(item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::Ask;
    use crate::mt_bench::QuestionId;
    use crate::stats::{Z_95, wilson};

    fn of(question: u64, turn: usize) -> Match {
        let ask = Ask { system: String::new(), user: String::new() };
        Match {
            question_id: QuestionId::Number(question),
            category: Some(if question < 3 { "math" } else { "stem" }.into()),
            turn,
            prompt: "pair-v2".into(),
            asks: [ask.clone(), ask],
        }
    }

    fn game(game: usize, winner: Winner) -> Game {
        Game {
            question_id: QuestionId::Number(0),
            model_1: "a".into(),
            model_2: "b".into(),
            game,
            winner,
            judge: ["j".into(), "p".into()],
            user_prompt: String::new(),
            judgment: String::new(),
            turn: 1,
            tstamp: 0.0,
            index: 0,
            request_sha256: String::new(),
            cut: false,
        }
    }

    fn tallied(winners: &[[Option<Winner>; 2]], matches: &[Match]) -> Tally {
        let both = |[first, second]: &[Option<Winner>; 2]| {
            [first.map(|winner| game(1, winner)), second.map(|winner| game(2, winner))]
        };
        let games = winners.iter().map(both).collect();
        tally(matches, &Played { games, ..Default::default() })
    }

    fn figure<'a>(tally: &'a Tally, name: &str, subset: Option<&str>) -> Option<&'a Figure> {
        tally.figures.iter().find(|each| each.name == name && each.subset.as_deref() == subset)
    }

    #[test]
    fn a_win_counts_only_where_both_orders_agree() {
        use Winner::{Error, First, Second, Tie};
        let games = [
            [First, First],   // won
            [Second, Second], // lost
            [First, Second],  // the first position both times: tie
            [Tie, Tie],
            [Tie, First],   // tie
            [First, Error], // nothing
        ]
        .map(|both| both.map(Some));
        let matches: Vec<Match> = (0..6).map(|question| of(question, 1)).collect();
        let tally = tallied(&games, &matches);
        let value = |name: &str| figure(&tally, name, None).map(|each| (each.value, each.n));
        assert_eq!(value("win_rate"), Some((0.2, 5)));
        assert_eq!(value("loss_rate"), Some((0.2, 5)));
        assert_eq!(value("tie_rate"), Some((0.6, 5)));
        assert_eq!(value("win_rate_adjusted"), Some((0.5, 5)));
        assert_eq!(value("agreement"), Some((0.6, 5)));
        // Decided games: A B | B A | A A | – – | – B | A –, as the judge saw them.
        assert_eq!(value("first_position"), Some((0.625, 8)));
        assert_eq!(value("unparsed"), Some((1.0, 12)));
        let (low, high) = wilson(2.5, 5, Z_95);
        let found = figure(&tally, "win_rate_adjusted", None).unwrap().interval.unwrap();
        assert!((found[0] - low).abs() < 1e-9 && (found[1] - high).abs() < 1e-9, "{found:?}");
        assert_eq!(tally.items[4].values["win"], 0.5);
        assert!(tally.items[5].values.is_empty());
    }

    #[test]
    fn the_position_bias_of_a_judge_that_always_says_a_is_one() {
        let games = vec![[Some(Winner::First), Some(Winner::Second)]; 4];
        let matches: Vec<Match> = (0..4).map(|question| of(question, 1)).collect();
        let tally = tallied(&games, &matches);
        assert_eq!(figure(&tally, "first_position", None).unwrap().value, 1.0);
        assert_eq!(figure(&tally, "agreement", None).unwrap().value, 0.0);
        assert_eq!(figure(&tally, "tie_rate", None).unwrap().value, 1.0);
    }

    #[test]
    fn turns_and_rounds_of_a_question_are_one_cluster_and_failures_are_counted() {
        let matches: Vec<Match> = (0..6).flat_map(|q| [of(q, 1), of(q, 2)]).collect();
        // Two rounds: questions 0 to 2 won in all, 3 to 5 lost in all.
        let won = |at: usize| if at % 12 < 6 { Winner::First } else { Winner::Second };
        let mut games: Vec<[Option<Winner>; 2]> = (0..24).map(|at| [Some(won(at)); 2]).collect();
        let tally = tallied(&games, &matches);
        let wide = figure(&tally, "win_rate", None).unwrap();
        assert_eq!((wide.value, wide.n), (0.5, 24));
        let (low, high) = wilson(12.0, 24, Z_95);
        let interval = wide.interval.unwrap();
        assert!(interval[1] - interval[0] > 1.5 * (high - low), "{interval:?}");
        assert_eq!(figure(&tally, "win_rate", Some("math")).unwrap().value, 1.0);
        assert_eq!(figure(&tally, "win_rate", Some("turn 2")).unwrap().n, 12);
        games[0] = [None, Some(Winner::First)];
        let tally = tallied(&games, &matches);
        assert_eq!(figure(&tally, "failed", None).unwrap().value, 1.0);
        assert_eq!(figure(&tally, "win_rate", None).unwrap().n, 23);
        assert_eq!(tally.items.len(), 12);
    }
}
