//! A recording as a source: one can move in it, and it plays.

use std::fs::File;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tcproof_record::{Entry, Error, Reader, Step as Record, reader_before};
use tcproof_report::record as report;
use tcproof_top::{Event, Go, Source, Step};

use crate::cli::At;
use crate::cmd::{recording, shown};
use crate::privileges;

/// What is shown of the time before, wherever one goes to.
const BEFORE: Duration = Duration::from_secs(120);
/// Between two steps while it plays, where they are recorded so.
const PACE: Duration = Duration::from_secs(1);
/// A hole in the recording is not waited out.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// What the person wants.
enum Wish {
    Go(Go),
    Play(bool),
}

/// Sends wishes to the thread that reads.
pub(super) struct Recording(Sender<Wish>);

impl Source for Recording {
    // Who reads has ended only when it can't go on, which was said.
    fn go(&mut self, go: Go) {
        let _ = self.0.send(Wish::Go(go));
    }

    fn play(&mut self, on: bool) {
        let _ = self.0.send(Wish::Play(on));
    }
}

/// Opens it, and shows the time that was asked for.
pub(super) fn begin(path: &Path, at: Option<At>, window: Duration, to: SyncSender<Event>) -> anyhow::Result<Recording> {
    let name = shown(path);
    let recording::Located { file, found, first, end } = recording::locate(path, at)?;
    let span = report::span(found.first_ms, found.last_ms);
    ensure!(end >= first, "{name}: nothing was recorded then: expected a time in {span}");
    recording::say_what_is_lost(path, &found);
    // The file is open: what else there is to do needs none.
    privileges::drop_all()?;
    let (wishes, wanted) = channel();
    let mut tape = Tape { file, first, last: found.last, before: BEFORE.max(window), reader: None, at: None, to };
    let play = move || {
        if let Err(error) = tape.jump(end).and_then(|()| tape.run(&wanted)) {
            let _ = tape.to.send(Event::Said(format!("{name}: {error}")));
        }
    };
    thread::Builder::new().name("replay".into()).spawn(play).context("starting a thread")?;
    Ok(Recording(wishes))
}

/// The thread that reads.
struct Tape {
    file: File,
    /// When the first and the last record ended, since boot.
    first: Duration,
    last: Duration,
    before: Duration,
    /// Reads on from where one is, with the record that was read too far.
    reader: Option<(Reader<File>, Option<Box<Record>>)>,
    /// The end of the last step that was shown.
    at: Option<Duration>,
    to: SyncSender<Event>,
}

impl Tape {
    fn run(&mut self, wishes: &Receiver<Wish>) -> Result<(), Error> {
        let mut plays_next: Option<Instant> = None;
        loop {
            let wish = match plays_next {
                None => wishes.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(at) => wishes.recv_timeout(at.saturating_duration_since(Instant::now())),
            };
            match wish {
                Ok(Wish::Play(true)) => plays_next = Some(Instant::now()),
                Ok(Wish::Play(false)) => plays_next = None,
                Ok(Wish::Go(go)) => {
                    self.go(go)?;
                    plays_next = plays_next.map(|_| Instant::now() + PACE);
                }
                Err(RecvTimeoutError::Timeout) => {
                    let was = self.at;
                    let is_on = self.next()?;
                    let wait = self.at.zip(was).map_or(PACE, |(now, was)| now.saturating_sub(was).min(LONGEST_WAIT));
                    plays_next = is_on.then(|| Instant::now() + wait);
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    fn go(&mut self, go: Go) -> Result<(), Error> {
        let at = self.at.unwrap_or(self.last);
        match go {
            Go::Start => self.jump(self.first),
            Go::End => self.jump(self.last),
            Go::By(ms) => {
                let by = Duration::from_millis(ms.unsigned_abs());
                let back = ms < 0;
                let end = if back { at.saturating_sub(by) } else { at.saturating_add(by) };
                match () {
                    // The next record is the least that one moves, however long it is.
                    () if !back && end < at.saturating_add(self.before) && self.reader.is_some() => {
                        while self.next()? && self.at.is_some_and(|at| at < end) {}
                        Ok(())
                    }
                    () => self.jump(end.clamp(self.first, self.last)),
                }
            }
        }
    }

    /// Shows the time up to `end` as if it had been watched.
    fn jump(&mut self, end: Duration) -> Result<(), Error> {
        let begin = end.saturating_sub(self.before);
        let mut reader = reader_before(self.file.try_clone()?, begin)?;
        self.send(Event::Jump);
        let mut held: Option<Box<Record>> = None;
        let mut too_far = None;
        while let Some(entry) = reader.next()? {
            let Entry::Step(step) = entry else { continue };
            if step.mono > end && held.is_some() {
                too_far = Some(step);
                break;
            }
            if step.mono <= begin && step.mono < end {
                continue;
            }
            if let Some(held) = held.replace(step) {
                self.send(Event::Past(shown_step(*held)));
            }
        }
        self.reader = Some((reader, too_far));
        if let Some(step) = held {
            self.show(*step);
        }
        Ok(())
    }

    /// Shows the next record; says whether there was one.
    fn next(&mut self) -> Result<bool, Error> {
        let Some((reader, too_far)) = &mut self.reader else { return Ok(false) };
        let mut found = too_far.take();
        while found.is_none() {
            match reader.next()? {
                Some(Entry::Step(step)) => found = Some(step),
                Some(Entry::Lost(_)) => {}
                None => break,
            }
        }
        match found {
            Some(step) => self.show(*step),
            None => {
                self.send(Event::Ended);
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn show(&mut self, step: Record) {
        self.at = Some(step.mono);
        self.send(Event::Step(shown_step(step)));
    }

    /// Where nobody listens any more all of this ends anyway.
    fn send(&self, event: Event) {
        let _ = self.to.send(event);
    }
}

fn shown_step(Record { wall_ms, interval, .. }: Record) -> Box<Step> {
    Box::new(Step { wall_ms, interval })
}
