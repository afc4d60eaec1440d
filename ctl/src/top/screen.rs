//! What the terminal shows, and what its keys do.

use ratatui_core::layout::{Constraint, Layout};
use ratatui_core::style::{Modifier, Style};
use ratatui_core::terminal::Frame;
use ratatui_core::text::Line;
use ratatui_termion::termion::event::Key;
use ratatui_widgets::table::{Row, Table};
use ratatui_widgets::tabs::Tabs;

use super::rows::{Order, headings, rows};
use super::traffic::{Reading, Subject};

/// What is shown.
#[derive(Debug)]
pub struct Screen {
    subject: Subject,
    order: Order,
    /// Of how many seconds the numbers are.
    seconds: f64,
    reading: Reading,
    /// Whether a database is away.
    pub is_away: bool,
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To show what has changed.
    Redraw,
    /// To end.
    Quit,
    /// Nothing.
    Nothing,
}

impl Screen {
    /// Nothing is known yet.
    pub fn new(order: Order) -> Self {
        Self {
            subject: Subject::Ports,
            order,
            seconds: 1.0,
            reading: Reading::new(),
            is_away: false,
        }
    }

    /// What was counted within so many seconds.
    pub fn show(&mut self, reading: Reading, seconds: f64) {
        self.reading = reading;
        self.seconds = seconds;
    }

    /// A key was pressed.
    pub fn press(&mut self, key: Key) -> Asked {
        let position = Subject::ALL
            .iter()
            .position(|subject| *subject == self.subject);
        let position = position.unwrap_or_default();
        let count = Subject::ALL.len();
        match key {
            Key::Char('q') | Key::Esc | Key::Ctrl('c') => return Asked::Quit,
            Key::Char('\t') | Key::Right => self.subject = Subject::ALL[(position + 1) % count],
            Key::BackTab | Key::Left => {
                self.subject = Subject::ALL[(position + count - 1) % count];
            }
            Key::Char('p') => self.order = Order::Packets,
            Key::Char('b') => self.order = Order::Bytes,
            Key::Char('n') => self.order = Order::Name,
            _ => return Asked::Nothing,
        }
        Asked::Redraw
    }

    /// Draws it.
    pub fn draw(&self, frame: &mut Frame<'_>) {
        let [head, body, foot] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Min(1),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        let position = Subject::ALL
            .iter()
            .position(|subject| *subject == self.subject);
        let tabs = Tabs::new(Subject::ALL.map(Subject::name)).select(position.unwrap_or_default());
        frame.render_widget(tabs, head);
        let lines = rows(&self.reading, self.subject, self.order, Some(self.seconds));
        let lines = lines.into_iter().map(Row::new);
        let heads = headings(self.subject, true);
        let numbers = heads.len() - 1;
        let mut widths = vec![Constraint::Fill(1)];
        widths.extend(std::iter::repeat_n(Constraint::Length(14), numbers));
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let table = Table::new(lines, widths).header(Row::new(heads).style(bold));
        frame.render_widget(table, body);
        let help = match self.is_away {
            true => "a database is away: names may be old   q: quit",
            false => "tab: next   p, b, n: by packets, bytes, name   q: quit",
        };
        frame.render_widget(Line::from(help), foot);
    }
}

#[cfg(test)]
mod tests {
    use ratatui_core::backend::TestBackend;
    use ratatui_core::terminal::Terminal;

    use super::*;
    use crate::explain::counters::Volume;
    use crate::top::traffic::Traffic;

    fn shown(screen: &Screen) -> String {
        let mut terminal = Terminal::new(TestBackend::new(80, 6)).expect("it is in memory");
        terminal
            .draw(|frame| screen.draw(frame))
            .expect("it is in memory");
        let buffer = terminal.backend().buffer();
        let cells = buffer
            .content()
            .iter()
            .map(ratatui_core::buffer::Cell::symbol)
            .collect::<Vec<_>>();
        let lines = cells
            .chunks(80)
            .map(|line| line.concat().trim_end().to_owned());
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn keys_lead_through_the_subjects() {
        let mut screen = Screen::new(Order::Bytes);
        let volume = Volume {
            packets: 10,
            bytes: 3000,
        };
        let traffic = Traffic {
            sent: volume,
            received: Volume::default(),
        };
        let reading = [
            ((Subject::Ports, "vm1".to_owned()), traffic),
            ((Subject::Rules, "no-telnet".to_owned()), traffic),
        ];
        screen.show(reading.into_iter().collect(), 2.0);
        let ports = shown(&screen);
        assert!(
            ports.contains("vm1") && ports.contains("1.5 kB/s"),
            "{ports}"
        );
        assert_eq!(screen.press(Key::Char('\t')), Asked::Redraw);
        let rules = shown(&screen);
        assert!(
            rules.contains("no-telnet") && !rules.contains("vm1"),
            "{rules}"
        );
        assert_eq!(screen.press(Key::Left), Asked::Redraw);
        assert_eq!(shown(&screen), ports);
        assert_eq!(screen.press(Key::Char('x')), Asked::Nothing);
        assert_eq!(screen.press(Key::Char('q')), Asked::Quit);
    }
}
