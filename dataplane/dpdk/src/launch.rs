// SPDX-License-Identifier: MIT OR Apache-2.0
//! Closures on EAL's worker threads.
//!
//! [`Eal::launch`] hands a closure to the thread that EAL pinned to the worker's
//! CPU, and gives back a [`WorkerHandle`] like the one of `std::thread`. The
//! difference is that the thread belongs to EAL: it has an lcore id, and so its
//! own mempool cache, and waits for the next closure when this one returns.
//!
//! A panic stops at the boundary to C and is handed to whoever joins. A dropped
//! handle lets the closure run on. Called from housekeeping, at start and stop.

use std::any::Any;
use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use dpdk_sys as sys;

use crate::{Eal, Errno, Error};

#[cfg(test)]
mod tests;

/// What the worker leaves and the handle waits for.
#[derive(Debug)]
struct Outcome<T> {
    result: Mutex<Option<thread::Result<T>>>,
    there: Condvar,
}

/// A closure that runs on a worker.
#[derive(Debug)]
pub struct WorkerHandle<T> {
    outcome: Arc<Outcome<T>>,
}

impl<T> WorkerHandle<T> {
    /// Whether the closure has returned or panicked.
    pub fn is_finished(&self) -> bool {
        self.outcome.result.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Waits for the closure and gives what it returned.
    ///
    /// # Errors
    /// The payload of its panic, as [`std::thread::JoinHandle::join`] does.
    pub fn join(self) -> Result<T, Box<dyn Any + Send>> {
        let mut result = self.outcome.result.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match result.take() {
                Some(result) => return result,
                None => {
                    result = self.outcome.there.wait(result).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

/// What crosses to the worker: a thin pointer to a fat one.
type Job = Box<dyn FnOnce() + Send>;

impl Eal {
    /// Runs `work` on worker `index`, which must be idle.
    ///
    /// # Errors
    /// [`Error::NoSuchWorker`], [`Error::WorkerBusy`], and [`Error::Launch`]
    /// when EAL cannot wake its thread.
    pub fn launch<F, T>(&'static self, index: usize, work: F) -> Result<WorkerHandle<T>, Error>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let none = || Error::NoSuchWorker { index, count: self.workers() };
        let busy = self.busy.get(index).ok_or_else(none)?;
        // Worker i is lcore i + 1, as Eal::init laid it out.
        let lcore = u32::try_from(index + 1).map_err(|_| none())?;
        if busy.swap(true, Ordering::AcqRel) {
            return Err(Error::WorkerBusy(index));
        }
        let outcome = Arc::new(Outcome { result: Mutex::new(None), there: Condvar::new() });
        let theirs = Arc::clone(&outcome);
        let job: Job = Box::new(move || {
            // The closure is gone afterwards either way, so nobody sees it half done.
            let result = catch_unwind(AssertUnwindSafe(work));
            busy.store(false, Ordering::Release);
            *theirs.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
            theirs.there.notify_all();
        });
        let job = Box::into_raw(Box::new(job));
        // SAFETY: the lcore exists, `busy` makes this the only launch for it, and waiting covers
        // the moment between a job's last line and the thread's being idle. `run` takes back
        // what `job` points to, once.
        let code = unsafe {
            sys::rte_eal_wait_lcore(lcore);
            sys::rte_eal_remote_launch(Some(run), job.cast::<c_void>(), lcore)
        };
        match Errno::check(code) {
            Ok(_) => Ok(WorkerHandle { outcome }),
            Err(errno) => {
                if errno == Errno::EBUSY {
                    // SAFETY: EAL did not take the job, so it is still ours.
                    drop(unsafe { Box::from_raw(job) });
                    busy.store(false, Ordering::Release);
                }
                // Else the thread cannot be reached and may yet find the job: both are left to it.
                Err(Error::Launch { index, errno })
            }
        }
    }
}

/// What EAL calls on the worker's thread.
extern "C" fn run(job: *mut c_void) -> c_int {
    // SAFETY: `launch` passed a pointer made by Box::into_raw from a Box<Job>, once.
    let job = unsafe { Box::from_raw(job.cast::<Job>()) };
    job();
    0
}
