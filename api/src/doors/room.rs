//! Memory for requests. What a request takes is counted while it is read and before it is understood: an empty object is two
//! bytes of a message or of JSON, and hundreds in memory, so that a few megabytes could fill all that there is.
//!
//! All requests together have so much room, and one client a share of it: who fills that waits for itself alone.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use objects::{Code, DESCRIPTORS, Refused, Violation};
use rpc::weight::Scale;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::trouble::Trouble;
use super::who::Who;

/// So many kibibytes requests take together.
const ALL_KIB: u32 = 1024 << 10;
/// So many those of one client take, and so one request.
const SHARE_KIB: u32 = 256 << 10;
/// So long a request waits for others to give room back.
const PATIENCE: Duration = Duration::from_secs(5);
/// So long the next mebibyte of a request may take.
const PACE: Duration = Duration::from_secs(20);
/// So many bytes a value of JSON takes, beside its text: as it is read, and as a part of an object.
const VALUE_BYTES: usize = 200;
/// So often a message of gRPC is kept: as it is decoded, and as an object.
const COPIES: usize = 2;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// The room.
#[derive(Debug)]
pub struct Room {
    all: Arc<Semaphore>,
    /// The shares of clients that can be told apart, for as long as they have requests.
    shares: Mutex<HashMap<String, Weak<Semaphore>>>,
    patience: Duration,
    pace: Duration,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(ALL_KIB as usize)),
            shares: Mutex::default(),
            patience: PATIENCE,
            pace: PACE,
        }
    }
}

impl Room {
    /// Nothing yet, for a request of this client.
    pub fn taken(&self, who: &Who) -> Taken {
        let new = || Arc::new(Semaphore::new(SHARE_KIB as usize));
        let share = match who.identity() {
            None => new(),
            Some(name) => {
                let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
                shares.retain(|_, share| share.strong_count() > 0);
                let share = shares.get(&name).and_then(Weak::upgrade);
                share.unwrap_or_else(|| {
                    let share = new();
                    shares.insert(name, Arc::downgrade(&share));
                    share
                })
            }
        };
        Taken {
            all: Arc::clone(&self.all),
            share,
            kibibytes: 0,
            permits: Vec::new(),
            patience: self.patience,
            pace: self.pace,
        }
    }
}

/// What a request has of it, until it is dropped.
#[derive(Debug)]
pub struct Taken {
    all: Arc<Semaphore>,
    share: Arc<Semaphore>,
    kibibytes: u32,
    permits: Vec<OwnedSemaphorePermit>,
    patience: Duration,
    pace: Duration,
}

impl Taken {
    /// Takes what is missing to so many bytes.
    ///
    /// # Errors
    /// When that is more than a client may have at all, or than others leave.
    async fn grow(&mut self, bytes: usize) -> Result<(), Trouble> {
        let wanted = u32::try_from(bytes.div_ceil(KIB)).unwrap_or(u32::MAX);
        if wanted > SHARE_KIB {
            let most = SHARE_KIB >> 10;
            let why = format!("it has so many parts that it takes more than {most} MiB of memory");
            return Err(invalid(&why, "send it in several"));
        }
        let missing = wanted.saturating_sub(self.kibibytes);
        if missing == 0 {
            return Ok(());
        }
        for (semaphore, why) in [
            (
                &self.share,
                "requests of the same client fill its share of the memory for them",
            ),
            (&self.all, "other requests fill the memory for them"),
        ] {
            let permit = Arc::clone(semaphore).acquire_many_owned(missing);
            match timeout(self.patience, permit).await {
                Ok(Ok(permit)) => self.permits.push(permit),
                _ => return Err(Trouble::Exhausted(format!("{why}; try again"))),
            }
        }
        self.kibibytes = wanted;
        Ok(())
    }

    /// The bytes of a body: of its head, and of at most so many more.
    ///
    /// # Errors
    /// When there are more, or they do not come in time, or there is no room for them.
    async fn read(&mut self, body: Body, head: usize, most: usize) -> Result<Bytes, Trouble> {
        let mut body = body;
        let mut bytes = Vec::new();
        let mut until = Instant::now() + self.pace;
        loop {
            let frame = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context));
            let frame = match timeout_at(until, frame).await {
                Ok(None) => return Ok(bytes.into()),
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(_))) => return Err(invalid("it breaks off", "send it again")),
                Err(_) => return Err(invalid("it did not come in time", "send it at once")),
            };
            let Some(data) = frame.data_ref() else {
                continue;
            };
            let before = bytes.len();
            let length = before + data.len();
            if length > head + most {
                let why = format!("it has more than {most} bytes");
                return Err(invalid(&why, "send it in parts"));
            }
            self.grow(length).await?;
            bytes.extend_from_slice(data);
            if length / MIB > before / MIB {
                until = Instant::now() + self.pace;
            }
        }
    }

    /// A body of JSON, with room for what becomes of it.
    ///
    /// # Errors
    /// See [`Taken::read`] and [`Taken::grow`].
    pub async fn read_json(&mut self, body: Body, most: usize) -> Result<Bytes, Trouble> {
        let bytes = self.read(body, 0, most).await?;
        self.grow(2 * bytes.len() + values(&bytes) * VALUE_BYTES)
            .await?;
        Ok(bytes)
    }

    /// The message of a call of the service, still in its frame, with room for what becomes of it.
    ///
    /// # Errors
    /// See [`Taken::read`] and [`Taken::grow`].
    pub async fn read_message(
        &mut self,
        call: &str,
        body: Body,
        most: usize,
    ) -> Result<Bytes, Trouble> {
        let bytes = self.read(body, FRAME_HEAD, most).await?;
        let message = bytes.get(FRAME_HEAD..).unwrap_or_default();
        let name = format!("weft.northbound.v1.{call}Request");
        let limit = SHARE_KIB as usize * KIB / COPIES;
        let weight = SCALE.weigh(&name, message, limit);
        self.grow(bytes.len() + COPIES * weight).await?;
        Ok(bytes)
    }
}

/// In front of a message stand whether it is compressed and its length.
const FRAME_HEAD: usize = 5;

/// What messages of the service weigh.
static SCALE: LazyLock<Scale> = LazyLock::new(|| Scale::of_descriptors(DESCRIPTORS));

/// How many values a text of JSON has at most: each is behind a bracket, a comma or a colon. Those in strings do not count.
fn values(text: &[u8]) -> usize {
    let (mut count, mut is_text, mut is_escaped) = (1, false, false);
    for byte in text {
        match (is_text, byte) {
            (true, _) if is_escaped => is_escaped = false,
            (true, b'\\') => is_escaped = true,
            (_, b'"') => is_text = !is_text,
            (false, b'[' | b'{' | b',' | b':') => count += 1,
            _ => {}
        }
    }
    count
}

fn invalid(why: &str, remedy: &str) -> Trouble {
    Refused::field(Code::Invalid, Violation::new("body", why, remedy)).into()
}

#[cfg(test)]
mod tests {
    use objects::v1;
    use store::caller::{Caller, Role};

    use super::*;

    fn who(name: &str) -> Who {
        let snapshot = northbound::Snapshot::empty(nb_db::schema().clone());
        let caller = Caller::new(Role::Writer, name);
        Who::new(caller, &snapshot, None).expect("no token is shown")
    }

    #[test]
    fn values_are_counted_outside_of_strings() {
        for (text, count) in [
            ("", 1),
            ("3", 1),
            ("[{},{}]", 5),
            (r#"{"a": "x,y:[{", "b": [1, 2]}"#, 7),
            (r#"{"\",": "\\"}"#, 3),
        ] {
            assert_eq!(values(text.as_bytes()), count, "{text}");
        }
    }

    #[test]
    fn many_small_objects_are_refused_while_they_are_bytes() {
        let object = SCALE.weigh("weft.northbound.v1.Object", &[], usize::MAX);
        let real = size_of::<v1::Object>();
        assert!((real..=3 * real).contains(&object), "{object} for {real}");
        let many = [0x12, 0].repeat(8 * MIB);
        let frame = [&[0; FRAME_HEAD][..], &many].concat();
        let json = format!("{{\"objects\":[{}{{}}]}}", "{},".repeat(5 * MIB));
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let room = Room::default();
            let read = async |bytes: Vec<u8>, is_json: bool| {
                let mut taken = room.taken(&who("a"));
                let body = Body::from(bytes);
                match is_json {
                    true => taken.read_json(body, 16 * MIB).await,
                    false => taken.read_message("Apply", body, 16 * MIB).await,
                }
            };
            for (bytes, is_json) in [(frame.clone(), false), (json.clone().into_bytes(), true)] {
                let refused = read(bytes, is_json).await.expect_err("it is too much");
                let text = format!("{refused:?}");
                assert!(text.contains("so many parts"), "{text}");
            }
            assert!(read(frame[..1 << 16].to_vec(), false).await.is_ok());
            assert!(
                read(json.as_bytes()[..1 << 16].to_vec(), true)
                    .await
                    .is_ok()
            );
            // Nothing is left behind.
            assert_eq!(room.all.available_permits(), ALL_KIB as usize);
        });
    }

    #[tokio::test]
    async fn who_fills_its_share_waits_for_itself_alone() {
        let room = Room {
            patience: Duration::from_millis(20),
            pace: Duration::from_millis(20),
            ..Room::default()
        };
        let share = SHARE_KIB as usize * KIB;
        let mut first = room.taken(&who("a"));
        first.grow(share).await.expect("there is room");
        let mut second = room.taken(&who("a"));
        let refused = second.grow(1).await.expect_err("the share is full");
        assert!(
            format!("{refused:?}").contains("the same client"),
            "{refused:?}"
        );
        let mut other = room.taken(&who("b"));
        other.grow(share).await.expect("that is another's");
        drop(first);
        second.grow(1).await.expect("there is room again");
        // Who sends nothing takes nothing, and is not waited for.
        let mut slow = room.taken(&who("c"));
        let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
        let body = Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(receiver));
        let refused = slow.read(body, 0, MIB).await.expect_err("nothing comes");
        assert!(format!("{refused:?}").contains("in time"), "{refused:?}");
        drop(sender);
        // What has come takes room, however little it is.
        let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
        let body = Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(receiver));
        let before = room.all.available_permits();
        let mut begun = room.taken(&who("d"));
        sender
            .send(Ok(Bytes::from_static(b"{")))
            .await
            .expect("it is read");
        begun.read(body, 0, MIB).await.expect_err("it is not whole");
        assert_eq!(room.all.available_permits(), before - 1);
    }
}
