//! An engine without a core, for tests: what sessions ask comes to the test, which answers or does not.

use std::collections::HashMap;

use super::*;

/// Where the core would be.
#[derive(Debug)]
pub struct FakeCore {
    inbox: mpsc::Receiver<Message>,
    senders: HashMap<SessionId, OutputSender>,
}

impl Engine {
    /// An engine whose core is the test.
    pub fn fake(schema: &Arc<DatabaseSchema>) -> (Arc<Self>, FakeCore) {
        let (events, inbox) = mpsc::channel(2 * MAX_EVENTS);
        let (_, ready) = watch::channel(true);
        let engine = Self {
            events,
            next_session: AtomicU64::new(1),
            sessions: Arc::default(),
            requests: Budget::of_server(),
            workers: Workers::start().unwrap(),
            databases: Arc::new(Databases::new(schema, Uuid::nil())),
            identity: Identity {
                database: schema.name.to_string(),
                cluster: Uuid::nil(),
                server: Uuid::nil(),
                member: 1,
            },
            membership: Membership::default(),
            metrics: Arc::default(),
            ready,
            busy: Arc::default(),
            file: None,
            started: Instant::now(),
            disk: Mutex::new(None),
        };
        let fake = FakeCore {
            inbox,
            senders: HashMap::new(),
        };
        (Arc::new(engine), fake)
    }
}

impl FakeCore {
    /// What was asked since the last time.
    pub fn asked(&mut self) -> Vec<(SessionId, RequestId, Request)> {
        let mut asked = Vec::new();
        while let Ok(message) = self.inbox.try_recv() {
            match message {
                Message::Open(session, _, _, sender) => {
                    self.senders.insert(session, sender);
                }
                Message::Event(Event::Request {
                    session,
                    request,
                    body,
                }) => asked.push((session, request, body)),
                _ => {}
            }
        }
        asked
    }

    /// Says something to a session.
    pub fn say(&self, session: SessionId, output: Output) {
        self.senders[&session].say(output).unwrap();
    }
}
