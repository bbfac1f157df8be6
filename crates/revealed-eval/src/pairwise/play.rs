//! Requests to a judge about matches, each game once.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::{Verdict, verdict};
use crate::error::EvalError;
use crate::judge::{Ask, JudgeClient, ask_all};
use crate::log::Log;
use crate::mt_bench::{QuestionId, now};
use crate::progress::{Progress, Stage};

/// Two answers to one turn of a question.
#[derive(Debug, Clone, PartialEq)]
pub struct Match {
    /// The question.
    pub question_id: QuestionId,
    /// The part of the data it belongs to.
    pub category: Option<String>,
    /// From 1.
    pub turn: usize,
    /// The prompt's name.
    pub prompt: String,
    /// The requests: with the first model's answer shown first, and with the second's.
    pub asks: [Ask; 2],
}

/// Who won a game, under FastChat's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Winner {
    /// The first model.
    #[serde(rename = "model_1")]
    First,
    /// The second.
    #[serde(rename = "model_2")]
    Second,
    /// Neither.
    Tie,
    /// The judgement has no verdict.
    Error,
}

/// One judgement, a line of the log of games.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Game {
    /// The question.
    pub question_id: QuestionId,
    /// The first model.
    pub model_1: String,
    /// The second.
    pub model_2: String,
    /// 1 where the first model's answer is shown first, 2 where the second's.
    pub game: usize,
    /// Who won.
    pub winner: Winner,
    /// The judge and the name of its prompt.
    pub judge: [String; 2],
    /// The judge's prompt.
    pub user_prompt: String,
    /// The judge's answer.
    pub judgment: String,
    /// From 1.
    pub turn: usize,
    /// Seconds since 1970.
    pub tstamp: f64,
    /// Which of the `k` games of this match and order it is, from 0.
    pub index: usize,
    /// [`JudgeClient::request_sha256`].
    pub request_sha256: String,
    /// Whether the judgement ends because it may not be longer.
    pub cut: bool,
}

/// Both games of a match, a line of FastChat's `model_judgment/JUDGE_pair.jsonl`. The last two keys are not FastChat's,
/// which ignores them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// The question.
    pub question_id: QuestionId,
    /// The first model.
    pub model_1: String,
    /// The second.
    pub model_2: String,
    /// Who won with the first model shown first.
    pub g1_winner: Winner,
    /// Who won with the second model shown first.
    pub g2_winner: Winner,
    /// The judge and the name of its prompt.
    pub judge: [String; 2],
    /// The prompt of the first game.
    pub g1_user_prompt: String,
    /// The judgement of it.
    pub g1_judgment: String,
    /// The prompt of the second game.
    pub g2_user_prompt: String,
    /// The judgement of it.
    pub g2_judgment: String,
    /// From 1.
    pub turn: usize,
    /// Seconds since 1970.
    pub tstamp: f64,
    /// Which of the `k` of this match, from 0.
    #[serde(default)]
    pub index: usize,
    /// Of the first and the second game; absent from FastChat's files.
    #[serde(default)]
    pub requests_sha256: [String; 2],
}

/// The results of the matches.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Played {
    /// For each of the `k` rounds of all matches, in the order of the matches: both games, or none where the judge gave
    /// no answer.
    pub games: Vec<[Option<Game>; 2]>,
    /// Requests that were answered now.
    pub asked: usize,
    /// Requests that were answered with none, by reason; a later run asks them again.
    pub failures: Vec<String>,
    /// Games of these models in the log that are none of these matches': of other answers, prompts or settings.
    pub others: usize,
}

/// Which game a line is: question, turn, order, index and request.
type Key = (QuestionId, usize, usize, usize, String);

/// One request.
struct Job<'a> {
    of: &'a Match,
    /// Place in `Played::games`.
    at: usize,
    game: usize,
    index: usize,
    sha256: String,
}

/// Asks about `k` rounds of the matches in both orders, but for the games that the log `games` already `known`s; each is
/// appended to it as it comes. Matches whose games are both there are appended to the log `pairs`, FastChat's
/// file, unless `known_pairs` has them.
///
/// # Errors
/// When the judge cannot be asked or a log not be written; what came before is in the logs.
pub fn play(
    client: &JudgeClient,
    matches: &[Match],
    models: [&str; 2],
    (games, known): (&mut Log, Vec<Game>),
    (pairs, known_pairs): (&mut Log, &[Pair]),
    on_progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Played, EvalError> {
    let settings = client.settings();
    let mut by_key: HashMap<Key, Game> = HashMap::new();
    for game in known.into_iter().filter(|game| of(game, models, &settings.model)) {
        by_key.insert(key(&game), game);
    }
    let mut played = Played::default();
    let mut missing = Vec::new();
    for index in 0..settings.k {
        for of in matches {
            let at = played.games.len();
            played.games.push([None, None]);
            for game in [1, 2] {
                let sha256 = client.request_sha256(&of.asks[game - 1]);
                let key = (of.question_id.clone(), of.turn, game, index, sha256);
                match by_key.remove(&key) {
                    Some(known) => played.games[at][game - 1] = Some(known),
                    None => missing.push(Job { of, at, game, index, sha256: key.4 }),
                }
            }
        }
    }
    played.others = by_key.len();
    let total = 2 * played.games.len();
    let mut stage = Stage::start("judging", total, on_progress);
    stage.add(total - missing.len(), 0);
    let asked = ask_all(
        client,
        &missing,
        |job| &job.of.asks[job.game - 1],
        |job, outcome| {
            match outcome {
                Ok(reply) => {
                    let game = job.game(models, &settings.model, &reply.text, reply.cut);
                    games.append(&game)?;
                    played.asked += 1;
                    played.games[job.at][job.game - 1] = Some(game);
                }
                Err(error) => played.failures.push(format!(
                    "question {}, turn {}, game {}: {error}",
                    job.of.question_id, job.of.turn, job.game
                )),
            }
            stage.add(1, 0);
            Ok(())
        },
    );
    // Judgements that were paid for are also written to FastChat's file, whatever ended the run.
    write_pairs(&played.games, pairs, known_pairs).and(asked)?;
    Ok(played)
}

fn of(game: &Game, models: [&str; 2], judge: &str) -> bool {
    game.judge[0] == judge && [&*game.model_1, &*game.model_2] == models
}

fn key(game: &Game) -> Key {
    (game.question_id.clone(), game.turn, game.game, game.index, game.request_sha256.clone())
}

fn write_pairs(
    games: &[[Option<Game>; 2]],
    log: &mut Log,
    known: &[Pair],
) -> Result<(), EvalError> {
    let identity = |pair: &Pair| {
        let models = [pair.model_1.clone(), pair.model_2.clone()];
        (pair.question_id.clone(), models, pair.turn, pair.index, pair.requests_sha256.clone())
    };
    let known: HashSet<_> = known.iter().map(identity).collect();
    for both in games {
        if let [Some(first), Some(second)] = both {
            let pair = Pair::of(first, second);
            if !known.contains(&identity(&pair)) {
                log.append(&pair)?;
            }
        }
    }
    Ok(())
}

impl Job<'_> {
    fn game(&self, [model_1, model_2]: [&str; 2], judge: &str, judgment: &str, cut: bool) -> Game {
        let winner = match (verdict(judgment), self.game) {
            (None, _) => Winner::Error,
            (Some(Verdict::Tie), _) => Winner::Tie,
            (Some(Verdict::A), 1) | (Some(Verdict::B), 2) => Winner::First,
            _ => Winner::Second,
        };
        Game {
            question_id: self.of.question_id.clone(),
            model_1: model_1.into(),
            model_2: model_2.into(),
            game: self.game,
            winner,
            judge: [judge.into(), self.of.prompt.clone()],
            user_prompt: self.of.asks[self.game - 1].user.clone(),
            judgment: judgment.into(),
            turn: self.of.turn,
            tstamp: now(),
            index: self.index,
            request_sha256: self.sha256.clone(),
            cut,
        }
    }
}

impl Pair {
    /// Of both games of a match.
    fn of(first: &Game, second: &Game) -> Self {
        Self {
            question_id: first.question_id.clone(),
            model_1: first.model_1.clone(),
            model_2: first.model_2.clone(),
            g1_winner: first.winner,
            g2_winner: second.winner,
            judge: first.judge.clone(),
            g1_user_prompt: first.user_prompt.clone(),
            g1_judgment: first.judgment.clone(),
            g2_user_prompt: second.user_prompt.clone(),
            g2_judgment: second.judgment.clone(),
            turn: first.turn,
            tstamp: first.tstamp.max(second.tstamp),
            index: first.index,
            requests_sha256: [first.request_sha256.clone(), second.request_sha256.clone()],
        }
    }
}
