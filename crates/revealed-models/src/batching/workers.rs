//! Independent pieces of work side by side, where a device's operations leave cores idle.
//!
//! Flex spreads matrix products over all cores and runs nearly everything else on one. Whole pieces of a batch, each on a
//! worker with a share of the cores, keep all of them busy. Pieces and the order of their results depend on the work alone,
//! so the bits of a sum do not depend on the machine's cores. Other devices get one piece at a time.

use std::any::Any;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use burn::tensor::Device;
use rayon::{ThreadPool, ThreadPoolBuilder};

/// Workers at most; a batch is cut into about as many pieces.
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
/// workers.
pub fn max_concurrency(device: &Device, largest: usize, budget: usize) -> usize {
    match has_lanes(device) && !inside() {
        true => (budget / largest.max(1)).min(workers()).max(1),
        false => 1,
    }
}

/// Rows of a batch in pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MicroBatches {
    /// Indices of rows.
    pub rows: Vec<Vec<usize>>,
    /// Pieces that may be worked on at once.
    pub concurrency: usize,
    /// Tokens of all rows; what rows share counts once.
    pub tokens: usize,
    /// The same with the filler beside them.
    pub padded: usize,
}

impl MicroBatches {
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
        let concurrency = max_concurrency(device, sizes().max().unwrap_or(0), budget);
        let padded = sizes().fold(0, usize::saturating_add);
        Self { rows, concurrency, tokens: total, padded }
    }

    /// Share of the filler, in [0, 1).
    pub fn padding(&self) -> f64 {
        padding(self.tokens, self.padded)
    }

    /// [`map_parallel`] on the pieces.
    ///
    /// # Errors
    /// As there.
    pub fn map_parallel<R: Send, E: Send>(
        &self,
        work: impl Fn(&[usize]) -> Result<R, E> + Sync,
        take: impl FnMut(R) -> Result<(), E>,
    ) -> Result<(), E> {
        map_parallel(self.concurrency, &self.rows, |rows| work(rows), take)
    }
}

/// Share of the filler where `tokens` are `padded` with it, in [0, 1).
pub fn padding(tokens: usize, padded: usize) -> f64 {
    match padded {
        0 => 0.0,
        padded => 1.0 - tokens as f64 / padded as f64,
    }
}

/// Does `work` on every item, `concurrency` of them side by side (as [`max_concurrency`] says), and gives the results to `take`
/// in the items' order, on this thread.
///
/// # Errors
/// The first that `work` or `take` gives; work that has begun is done before it is returned.
pub fn map_parallel<T: Sync, R: Send, E: Send>(
    concurrency: usize,
    items: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
    mut take: impl FnMut(R) -> Result<(), E>,
) -> Result<(), E> {
    let pools = match concurrency.min(items.len()) {
        0 | 1 => &[],
        _ if inside() => &[],
        wanted => pools(wanted.min(workers())),
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
        // However this ends, workers must not wait for a reader who is gone.
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

/// Whether this thread is a worker's.
fn inside() -> bool {
    INSIDE.get()
}

/// Workers that this machine has.
fn workers() -> usize {
    rayon::current_num_threads().min(MOST)
}

/// `workers` pools that share out the threads of rayon's own; none for one worker.
fn pools(workers: usize) -> &'static [ThreadPool] {
    static POOLS: [OnceLock<Vec<ThreadPool>>; MOST + 1] = [const { OnceLock::new() }; MOST + 1];
    if !(2..=MOST).contains(&workers) {
        return &[];
    }
    POOLS[workers].get_or_init(|| {
        let build = |worker| {
            ThreadPoolBuilder::new()
                .num_threads(share(rayon::current_num_threads(), workers, worker))
                .thread_name(move |thread| format!("worker-{worker}-{thread}"))
                .start_handler(|_| INSIDE.set(true))
                .build()
        };
        // Where the system gives no more threads, there are fewer workers.
        (0..workers).map_while(|worker| build(worker).ok()).collect()
    })
}

/// Threads of a worker, of which all workers together have `threads`.
fn share(threads: usize, workers: usize, worker: usize) -> usize {
    (threads + worker) / workers
}

/// What panicked work leaves.
type Panic = Box<dyn Any + Send>;

struct Queue<R> {
    state: Mutex<State<R>>,
    changed: Condvar,
    items: usize,
    /// How far workers may be ahead of the reader, so that results do not pile up.
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

    fn squares(concurrency: usize, fails: Option<usize>) -> Result<Vec<usize>, String> {
        let items: Vec<usize> = (0..50).collect();
        let mut taken = Vec::new();
        let work = |item: &usize| match Some(*item) == fails {
            true => Err(format!("item {item}")),
            false => Ok(item * item),
        };
        map_parallel(concurrency, &items, work, |square| {
            taken.push(square);
            Ok(())
        })?;
        Ok(taken)
    }

    #[test]
    fn results_come_in_the_items_order_and_the_first_error_ends_it() {
        let expected: Vec<usize> = (0..50).map(|item| item * item).collect();
        for concurrency in [1, 2, 4, 100] {
            assert_eq!(squares(concurrency, None).unwrap(), expected);
            assert_eq!(squares(concurrency, Some(7)).unwrap_err(), "item 7");
        }
        let none: [usize; 0] = [];
        assert!(map_parallel(4, &none, |_| Ok::<_, ()>(()), |()| Err(())).is_ok());
    }

    #[test]
    fn lanes_are_never_far_ahead_of_the_reader() {
        let begun = AtomicUsize::new(0);
        let mut read = 0;
        let items = [(); 40];
        let work = |_: &()| Ok::<_, ()>(begun.fetch_add(1, Ordering::SeqCst));
        map_parallel(2, &items, work, |_| {
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
                map_parallel(3, &items, work, |item| {
                    assert!(in_lane || item != 5, "five");
                    Ok(())
                })
            });
            let panic = caught.unwrap_err();
            assert_eq!(panic.downcast_ref::<&str>(), Some(&"five"));
        }
        // The workers live on.
        assert_eq!(squares(4, None).unwrap().len(), 50);
    }

    #[test]
    fn however_many_lanes_there_are_they_have_all_threads() {
        for threads in 2..=33 {
            for workers in 2..=threads.min(MOST) {
                let shares: Vec<usize> =
                    (0..workers).map(|worker| share(threads, workers, worker)).collect();
                assert_eq!(shares.iter().sum::<usize>(), threads);
                assert!(shares.iter().all(|share| *share > 0));
            }
        }
        let count =
            |wanted| pools(wanted).iter().map(ThreadPool::current_num_threads).sum::<usize>();
        for wanted in 2..=workers() {
            assert_eq!(rayon::current_num_threads(), count(wanted));
        }
    }

    #[test]
    fn work_within_work_is_done_by_its_own_lane() {
        let items = [1, 2, 3];
        let mut sum = 0;
        let work = |_: &i32| {
            let mut parts = 0;
            map_parallel(
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
        map_parallel(2, &items, work, |part| {
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
        assert_eq!(max_concurrency(&device, 2000, 2048), 1);
        assert!(max_concurrency(&device, 1, 2048) <= MOST);
        assert_eq!(max_concurrency(&device, 0, 0), 1);
        assert_eq!(piece_tokens(&device.autodiff(), 1024, 2048), 256);
    }

    #[test]
    fn rows_of_alike_lengths_are_a_piece_and_one_that_is_too_long_is_alone() {
        let device = Device::flex();
        let rows =
            |lengths: &[usize], budget| MicroBatches::of_lengths(lengths, &device, budget).rows;
        let pieces = MicroBatches::of_lengths(&[5, 1, 4, 1, 90], &device, 10);
        assert_eq!((pieces.tokens, pieces.padded), (101, 102));
        assert!((pieces.padding() - 1.0 / 102.0).abs() < 1e-12);
        assert_eq!(MicroBatches::of_lengths(&[], &device, 10).padding(), 0.0);
        assert_eq!(rows(&[5, 1, 4, 1, 90], 10), [vec![1, 3], vec![2, 0], vec![4]]);
        assert_eq!(rows(&[usize::MAX, 3, usize::MAX], 10), [vec![1], vec![0], vec![2]]);
        assert!(rows(&[], 10).is_empty());
    }
}
