//! What is to be traced and how it is told: the options of a trace, and the trace.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;

use super::header::describe;
use super::microflow;
use super::names::CT_FLAGS;
use super::packet::Packet;
use super::stage::Stages;
use super::track::{Answers, TRACKED};
use super::tree::{Forms, Kind, Node};
use super::walk::{Ending, Manner, OpenFlow, Settings, Walker};
use super::world::World;

/// How much stack a packet's way may need: look-ups are nested, thousands of them at worst.
const STACK: usize = 256 << 20;

/// A trace that is asked for.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// How it is printed.
    pub forms: Forms,
    /// What nobody can know from the database.
    pub settings: Settings,
    /// The switch to ask for OpenFlow flows, if they are to be shown.
    pub switch: Option<String>,
    /// The datapath, if not that of the input port.
    pub datapath: Option<String>,
    /// The packet's description.
    pub microflow: String,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traced {
    /// The text to print.
    pub text: String,
    /// What somebody should know.
    pub warnings: Vec<String>,
}

/// A packet's ways.
#[derive(Clone, Debug)]
pub struct Followed {
    /// The packet as it was described.
    pub packet: Packet,
    /// Its way, as a tree.
    pub nodes: Vec<Node>,
    /// How its ways ended.
    pub endings: Vec<Ending>,
    /// What somebody should know.
    pub warnings: Vec<String>,
}

impl Request {
    /// Follows the packet.
    ///
    /// # Errors
    /// As [`Request::run`].
    pub fn follow(&self, world: &World, stages: &Stages) -> Result<Followed, String> {
        let datapath = self.datapath.as_deref();
        let manner = self.settings.manner;
        let read = microflow::read(world, datapath, &self.microflow, manner);
        let (datapath, packet) = read.map_err(|error| error.to_string())?;
        let openflow = |cookie| openflow(self.switch.as_deref().unwrap_or_default(), cookie);
        let openflow: Option<OpenFlow<'_>> = self.switch.as_ref().map(|_| &openflow as _);
        let mut walker = Walker::new(world, stages, self.settings.clone(), openflow);
        let nodes = walker.enter(datapath, &packet);
        Ok(Followed {
            packet,
            nodes,
            endings: walker.endings,
            warnings: walker.warnings.into_iter().collect(),
        })
    }

    /// Traces the packet.
    ///
    /// # Errors
    /// When the description, or a name in it, makes no sense: what is wrong, as ovn-trace prints it.
    pub fn run(&self, world: &World, stages: &Stages) -> Result<Traced, String> {
        let followed = self.follow(world, stages)?;
        let header = describe(&followed.packet.state);
        Ok(Traced {
            text: format!("# {header}\n{}", self.forms.print(&followed.nodes)),
            warnings: followed.warnings,
        })
    }
}

/// Runs `work` where there is room for the deepest way that a packet may take.
///
/// # Errors
/// When the system has no room for another thread.
pub fn with_room<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("trace".to_owned())
            .stack_size(STACK)
            .spawn_scoped(scope, work)
            .map_err(|error| format!("no room for a thread: {error}"))?;
        match thread.join() {
            Ok(done) => Ok(done),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// The flows of a switch with this cookie, as ovs-ofctl prints them.
fn openflow(switch: &str, cookie: u32) -> Vec<Node> {
    let output = Command::new("ovs-ofctl")
        .args(["-O", "OpenFlow15", "--no-names", "dump-flows", switch])
        .arg(format!("cookie={cookie:#x}/-1"))
        .output();
    let wrong = |text: &str| {
        let text = format!("*** error obtaining flow stats ({})", text.trim());
        vec![Node::new(Kind::Remark, text)]
    };
    let output = match output {
        Ok(output) if output.status.success() => output,
        Ok(output) => return wrong(&String::from_utf8_lossy(&output.stderr)),
        Err(error) => return wrong(&format!("ovs-ofctl: {error}")),
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let flows = text
        .lines()
        .filter(|line| line.contains("cookie="))
        .map(|line| Node::new(Kind::Action, line.trim()));
    let flows: Vec<Node> = flows.collect();
    match flows.is_empty() {
        true => vec![Node::new(Kind::Remark, "*** no OpenFlow flows")],
        false => flows,
    }
}

/// `--ct`: flags with commas or blanks in between; a connection that is looked up is tracked.
///
/// # Errors
/// When one of the words is no flag.
pub fn ct_state(text: &str) -> Result<u128, String> {
    let mut state = TRACKED;
    let words = text.split([',', ' ', '|', '\t', '\n']);
    for word in words.filter(|word| !word.is_empty()) {
        let bit = CT_FLAGS.iter().position(|flag| *flag == word);
        let bit = bit.ok_or_else(|| format!("{word}: unknown connection tracking state flag"))?;
        state |= 1 << bit;
    }
    Ok(state)
}

/// `--select-id`: a number that is not 0. What is larger than the numbers that there are chooses nothing.
///
/// # Errors
/// When it is none.
pub fn select_id(text: &str) -> Result<Option<u16>, String> {
    match text.parse::<u32>() {
        Ok(number) if number > 0 => Ok(u16::try_from(number).ok()),
        _ => Err(format!("{text}: bad select-id")),
    }
}

/// `--lb-dst`: `10.0.0.1`, `10.0.0.1:80`, `fd00::1`, `[fd00::1]:80`.
///
/// # Errors
/// When it is none of these.
pub fn backend(text: &str) -> Result<(IpAddr, Option<u16>), String> {
    if let Ok(both) = text.parse::<SocketAddr>() {
        return Ok((both.ip(), Some(both.port()).filter(|port| *port != 0)));
    }
    match text.trim_matches(['[', ']']).parse() {
        Ok(ip) => Ok((ip, None)),
        Err(_) => Err(format!("{text}: bad address")),
    }
}

/// The request that words of the control socket make: options of the form, a datapath perhaps, and the description.
///
/// # Errors
/// When there are other options, or too many words or none.
pub fn from_words(words: &[String], friendly: bool, manner: Manner) -> Result<Request, String> {
    let mut forms = Forms::default();
    let mut rest = words;
    while let [option, others @ ..] = rest
        && option.starts_with('-')
    {
        match option.as_str() {
            "--detailed" => forms.detailed = true,
            "--summary" => forms.summary = true,
            "--minimal" => forms.minimal = true,
            "--all" => forms = Forms::ALL,
            _ => return Err("unknown option".to_owned()),
        }
        rest = others;
    }
    let (datapath, microflow) = match rest {
        [microflow] => (None, microflow),
        [datapath, microflow] => (Some(datapath.clone()), microflow),
        _ => return Err("one or two non-option arguments are required".to_owned()),
    };
    Ok(Request {
        forms: forms.or_detailed(),
        settings: Settings {
            friendly,
            manner,
            ..Settings::default()
        },
        switch: None,
        datapath,
        microflow: microflow.clone(),
    })
}

/// What `--ct` and `--lb-dst` say.
pub fn answers(states: Vec<u128>, backend: Option<(IpAddr, Option<u16>)>) -> Answers {
    Answers {
        states: VecDeque::from(states),
        backend,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        assert_eq!(ct_state("new"), Ok(0x21));
        assert_eq!(ct_state("trk,est rpl"), Ok(0x2a));
        assert!(ct_state("old").unwrap_err().contains("old"));
        let ip = |text: &str| text.parse().expect("an address");
        assert_eq!(backend("10.0.0.1:80"), Ok((ip("10.0.0.1"), Some(80))));
        assert_eq!(backend("[fd00::1]:80"), Ok((ip("fd00::1"), Some(80))));
        assert_eq!(backend("fd00::1"), Ok((ip("fd00::1"), None)));
        assert!(backend("nobody").is_err());
        assert_eq!(select_id("3"), Ok(Some(3)));
        assert_eq!(select_id("70000"), Ok(None));
        assert_eq!(select_id("0"), Err("0: bad select-id".to_owned()));
        let words = |text: &str| -> Vec<String> { text.split(' ').map(str::to_owned).collect() };
        let read = |text| from_words(&words(text), true, Manner::Chassis);
        let request = read("--minimal sw0 1").expect("a request");
        assert_eq!(
            (request.datapath.as_deref(), &*request.microflow),
            (Some("sw0"), "1")
        );
        assert!(request.forms.minimal && !request.forms.detailed);
        assert_eq!(read("--ovs 1").unwrap_err(), "unknown option");
        assert!(read("--all").is_err());
    }
}
