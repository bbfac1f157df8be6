//! Independent pieces of work side by side, where a device's operations leave cores idle.
//!
//! Flex spreads matrix products over all cores and runs nearly everything else on one. Whole pieces of a batch, each on a
//! lane with a share of the cores, keep all of them busy. Pieces and the order of their results depend on the work alone,
//! so the bits of a sum do not depend on the machine's cores. Other devices get one piece at a time.

use std::any::Any;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use burn::tensor::Device;
use rayon::{ThreadPool, ThreadPoolBuilder};

/// Lanes at most; a batch is cut into about as many pieces.
const MOST: usize = 4;

/// Tokens that a piece should have for its matrix products to reach their rate.
const LEAST: usize = 64;

/// Padded tokens that a piece of a batch of `total` should have, when `budget` may be in memory at once.
pub fn piece_tokens(device: &Device, total: usize, budget: usize) -> usize {
    piece_size(device, total, budget, LEAST)
}

/// The same in another unit, of which a piece should have `least` for its matrix products to reach their rate.
pub(crate) fn piece_size(device: &Device, total: usize, budget: usize, least: usize) -> usize {
    match has_lanes(device) {
        true => total.div_ceil(MOST).min(budget / MOST).max(least).min(budget).max(1),
        false => budget,
    }
}

/// Pieces of up to `largest` padded tokens (or another unit) that may run at once within `budget`: 1 on devices without
/// lanes.
pub fn pieces_at_once(device: &Device, largest: usize, budget: usize) -> usize {
    match has_lanes(device) && !inside() {
        true => (budget / largest.max(1)).min(lanes()).max(1),
        false => 1,
    }
}

/// Rows of a batch in pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pieces {
    /// Indices of rows.
    pub rows: Vec<Vec<usize>>,
    /// Pieces that may be worked on at once.
    pub at_once: usize,
    /// Tokens of all rows; what rows share counts once.
    pub tokens: usize,
    /// The same with the filler beside them.
    pub padded: usize,
}

impl Pieces {
    /// Rows of these lengths in pieces of alike ones that together stay within `budget`, padding counted; a row that is longer
    /// is alone.
    pub fn of_lengths(lengths: &[usize], device: &Device, budget: usize) -> Self {
        let total = lengths.iter().fold(0usize, |sum, length| sum.saturating_add(*length));
        let tokens = piece_tokens(device, total, budget);
        let mut order: Vec<usize> = (0..lengths.len()).collect();
        order.sort_by_key(|row| lengths[*row]);
        let mut rows: Vec<Vec<usize>> = Vec::new();
        for row in order {
            // The row that joins is the longest.
            let size = |rows: usize| lengths[row].saturating_mul(rows);
            match rows.last_mut() {
                Some(piece) if size(piece.len() + 1) <= tokens => piece.push(row),
                _ => rows.push(vec![row]),
            }
        }
        // The last row of a piece is its longest.
        let sizes = || {
            rows.iter().map(|piece| {
                piece.last().map_or(0, |row| lengths[*row].saturating_mul(piece.len()))
            })
        };
        let at_once = pieces_at_once(device, sizes().max().unwrap_or(0), budget);
        let padded = sizes().fold(0, usize::saturating_add);
        Self { rows, at_once, tokens: total, padded }
    }

    /// Share of the filler, in [0, 1).
    pub fn padding(&self) -> f64 {
        padding(self.tokens, self.padded)
    }

    /// [`side_by_side`] on the pieces.
    ///
    /// # Errors
    /// As there.
    pub fn side_by_side<R: Send, E: Send>(
        &self,
        work: impl Fn(&[usize]) -> Result<R, E> + Sync,
        take: impl FnMut(R) -> Result<(), E>,
    ) -> Result<(), E> {
        side_by_side(self.at_once, &self.rows, |rows| work(rows), take)
    }
}

/// Share of the filler where `tokens` are `padded` with it, in [0, 1).
pub fn padding(tokens: usize, padded: usize) -> f64 {
    match padded {
        0 => 0.0,
        padded => 1.0 - tokens as f64 / padded as f64,
    }
}

/// Does `work` on every item, `at_once` of them side by side (as [`pieces_at_once`] says), and gives the results to `take`
/// in the items' order, on this thread.
///
/// # Errors
/// The first that `work` or `take` gives; work that has begun is done before it is returned.
pub fn side_by_side<T: Sync, R: Send, E: Send>(
    at_once: usize,
    items: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
    mut take: impl FnMut(R) -> Result<(), E>,
) -> Result<(), E> {
    let pools = match at_once.min(items.len()) {
        0 | 1 => &[],
        _ if inside() => &[],
        wanted => pools(wanted.min(lanes())),
    };
    if pools.is_empty() {
        return items.iter().try_for_each(|item| take(work(item)?));
    }
    let queue = Queue::new(items.len(), 2 * pools.len());
    thread::scope(|scope| {
        for pool in pools {
            let (queue, work) = (&queue, &work);
            scope.spawn(move || {
                pool.install(|| {
                    while let Some(index) = queue.next() {
                        queue.put(index, catch_unwind(AssertUnwindSafe(|| work(&items[index]))));
                    }
                });
            });
        }
        // However this ends, lanes must not wait for a reader who is gone.
        let _closed = Close(&queue);
        for index in 0..items.len() {
            match queue.wait(index) {
                Ok(result) => take(result?)?,
                Err(panic) => resume_unwind(panic),
            }
        }
        Ok(())
    })
}

/// Whether this device's operations leave cores idle.
#[cfg(feature = "flex")]
fn has_lanes(device: &Device) -> bool {
    *device == Device::flex()
}

/// Whether this device's operations leave cores idle.
#[cfg(not(feature = "flex"))]
fn has_lanes(_: &Device) -> bool {
    false
}

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is a lane's.
fn inside() -> bool {
    INSIDE.get()
}

/// Lanes that this machine has.
fn lanes() -> usize {
    rayon::current_num_threads().min(MOST)
}

/// `lanes` pools that share out the threads of rayon's own; none for one lane.
fn pools(lanes: usize) -> &'static [ThreadPool] {
    static POOLS: [OnceLock<Vec<ThreadPool>>; MOST + 1] = [const { OnceLock::new() }; MOST + 1];
    if !(2..=MOST).contains(&lanes) {
        return &[];
    }
    POOLS[lanes].get_or_init(|| {
        let build = |lane| {
            ThreadPoolBuilder::new()
                .num_threads(share(rayon::current_num_threads(), lanes, lane))
                .thread_name(move |thread| format!("lane-{lane}-{thread}"))
                .start_handler(|_| INSIDE.set(true))
                .build()
        };
        // Where the system gives no more threads, there are fewer lanes.
        (0..lanes).map_while(|lane| build(lane).ok()).collect()
    })
}

/// Threads of a lane, of which all lanes together have `threads`.
fn share(threads: usize, lanes: usize, lane: usize) -> usize {
    (threads + lane) / lanes
}

/// What panicked work leaves.
type Panic = Box<dyn Any + Send>;

struct Queue<R> {
    state: Mutex<State<R>>,
    changed: Condvar,
    items: usize,
    /// How far lanes may be ahead of the reader, so that results do not pile up.
    ahead: usize,
}

struct State<R> {
    next: usize,
    read: usize,
    done: BTreeMap<usize, Result<R, Panic>>,
    closed: bool,
}

impl<R> Queue<R> {
    fn new(items: usize, ahead: usize) -> Self {
        let state = State { next: 0, read: 0, done: BTreeMap::new(), closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new(), items, ahead }
    }

    fn state(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next item to work on; none when all are taken or nobody reads any more.
    fn next(&self) -> Option<usize> {
        let far = |state: &mut State<R>| {
            !state.closed && state.next < self.items && state.next >= state.read + self.ahead
        };
        let mut state =
            self.changed.wait_while(self.state(), far).unwrap_or_else(PoisonError::into_inner);
        if state.closed || state.next == self.items {
            return None;
        }
        state.next += 1;
        Some(state.next - 1)
    }

    fn put(&self, index: usize, result: Result<R, Panic>) {
        self.state().done.insert(index, result);
        self.changed.notify_all();
    }

    fn wait(&self, index: usize) -> Result<R, Panic> {
        let mut state = self.state();
        loop {
            if let Some(result) = state.done.remove(&index) {
                state.read = index + 1;
                self.changed.notify_all();
                return result;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

struct Close<'a, R>(&'a Queue<R>);

impl<R> Drop for Close<'_, R> {
    fn drop(&mut self) {
        self.0.state().closed = true;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn squares(at_once: usize, fails: Option<usize>) -> Result<Vec<usize>, String> {
        let items: Vec<usize> = (0..50).collect();
        let mut taken = Vec::new();
        let work = |item: &usize| match Some(*item) == fails {
            true => Err(format!("item {item}")),
            false => Ok(item * item),
        };
        side_by_side(at_once, &items, work, |square| {
            taken.push(square);
            Ok(())
        })?;
        Ok(taken)
    }

    #[test]
    fn results_come_in_the_items_order_and_the_first_error_ends_it() {
        let expected: Vec<usize> = (0..50).map(|item| item * item).collect();
        for at_once in [1, 2, 4, 100] {
            assert_eq!(squares(at_once, None).unwrap(), expected);
            assert_eq!(squares(at_once, Some(7)).unwrap_err(), "item 7");
        }
        let none: [usize; 0] = [];
        assert!(side_by_side(4, &none, |_| Ok::<_, ()>(()), |()| Err(())).is_ok());
    }

    #[test]
    fn lanes_are_never_far_ahead_of_the_reader() {
        let begun = AtomicUsize::new(0);
        let mut read = 0;
        let items = [(); 40];
        let work = |_: &()| Ok::<_, ()>(begun.fetch_add(1, Ordering::SeqCst));
        side_by_side(2, &items, work, |_| {
            assert!(begun.load(Ordering::SeqCst) <= read + 1 + 4);
            read += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!((read, begun.into_inner()), (40, 40));
    }

    #[test]
    fn a_panic_in_a_lane_or_in_the_reader_is_the_caller_s() {
        for in_lane in [true, false] {
            let caught = catch_unwind(|| {
                let work = |item: &usize| {
                    assert!(!in_lane || *item != 5, "five");
                    Ok::<_, ()>(*item)
                };
                let items: Vec<usize> = (0..30).collect();
                side_by_side(3, &items, work, |item| {
                    assert!(in_lane || item != 5, "five");
                    Ok(())
                })
            });
            let panic = caught.unwrap_err();
            assert_eq!(panic.downcast_ref::<&str>(), Some(&"five"));
        }
        // The lanes live on.
        assert_eq!(squares(4, None).unwrap().len(), 50);
    }

    #[test]
    fn however_many_lanes_there_are_they_have_all_threads() {
        for threads in 2..=33 {
            for lanes in 2..=threads.min(MOST) {
                let shares: Vec<usize> =
                    (0..lanes).map(|lane| share(threads, lanes, lane)).collect();
                assert_eq!(shares.iter().sum::<usize>(), threads);
                assert!(shares.iter().all(|share| *share > 0));
            }
        }
        let count =
            |wanted| pools(wanted).iter().map(ThreadPool::current_num_threads).sum::<usize>();
        for wanted in 2..=lanes() {
            assert_eq!(rayon::current_num_threads(), count(wanted));
        }
    }

    #[test]
    fn work_within_work_is_done_by_its_own_lane() {
        let items = [1, 2, 3];
        let mut sum = 0;
        let work = |_: &i32| {
            let mut parts = 0;
            side_by_side(
                4,
                &items,
                |item| Ok(*item),
                |item| {
                    parts += item;
                    Ok::<_, ()>(())
                },
            )?;
            Ok::<_, ()>(parts)
        };
        side_by_side(2, &items, work, |part| {
            sum += part;
            Ok(())
        })
        .unwrap();
        assert_eq!(sum, 18);
    }

    #[test]
    #[cfg(feature = "flex")]
    fn pieces_share_the_budget_and_do_not_depend_on_the_cores() {
        let device = Device::flex();
        assert_eq!(piece_tokens(&device, 1024, 2048), 256);
        assert_eq!(piece_tokens(&device, 100_000, 2048), 512);
        assert_eq!(piece_tokens(&device, 10, 2048), LEAST);
        assert_eq!(piece_tokens(&device, 10, 2), 2);
        assert_eq!(piece_tokens(&device, 10, 0), 1);
        assert_eq!(piece_size(&device, 8, 8, 8), 8);
        assert_eq!(pieces_at_once(&device, 2000, 2048), 1);
        assert!(pieces_at_once(&device, 1, 2048) <= MOST);
        assert_eq!(pieces_at_once(&device, 0, 0), 1);
        assert_eq!(piece_tokens(&device.autodiff(), 1024, 2048), 256);
    }

    #[test]
    fn rows_of_alike_lengths_are_a_piece_and_one_that_is_too_long_is_alone() {
        let device = Device::flex();
        let rows = |lengths: &[usize], budget| Pieces::of_lengths(lengths, &device, budget).rows;
        let pieces = Pieces::of_lengths(&[5, 1, 4, 1, 90], &device, 10);
        assert_eq!((pieces.tokens, pieces.padded), (101, 102));
        assert!((pieces.padding() - 1.0 / 102.0).abs() < 1e-12);
        assert_eq!(Pieces::of_lengths(&[], &device, 10).padding(), 0.0);
        assert_eq!(rows(&[5, 1, 4, 1, 90], 10), [vec![1, 3], vec![2, 0], vec![4]]);
        assert_eq!(rows(&[usize::MAX, 3, usize::MAX], 10), [vec![1], vec![0], vec![2]]);
        assert!(rows(&[], 10).is_empty());
    }
}
