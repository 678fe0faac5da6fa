//! MySQL's packets, and the pieces they are made of (MySQL's documentation, chapter "Client/Server Protocol").

use super::wire::{MOST, Wire};

/// A connection as packets: three bytes of length, one of position, then as many bytes.
pub struct Packets {
    wire: Wire,
    position: u8,
}

impl Packets {
    /// On a connection of which nothing was read yet.
    pub fn new(wire: Wire) -> Self {
        Self { wire, position: 0 }
    }

    /// The next packet, put together where it came in several.
    pub async fn receive(&mut self) -> Result<Vec<u8>, String> {
        let mut packet = Vec::new();
        loop {
            let mut header = [0; 4];
            self.wire.read(&mut header).await?;
            let length = u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize;
            self.position = header[3].wrapping_add(1);
            if packet.len() + length > MOST {
                return Err(format!("a row is longer than {} MB: ask for less of it", MOST >> 20));
            }
            packet.extend(self.wire.take(length).await?);
            if length < 0xff_ffff {
                return Ok(packet);
            }
        }
    }

    /// A packet that goes on with the exchange.
    pub async fn send(&mut self, payload: &[u8]) -> Result<(), String> {
        let length = u32::try_from(payload.len()).ok().filter(|l| *l < 0xff_ffff).ok_or("the statement is longer than 16 MB")?;
        let [a, b, c, _] = length.to_le_bytes();
        let packet = [&[a, b, c, self.position], payload].concat();
        self.position = self.position.wrapping_add(1);
        self.wire.write(&packet).await
    }

    /// A packet that begins an exchange: a command and what it is about.
    pub async fn command(&mut self, command: u8, payload: &[u8]) -> Result<(), String> {
        self.position = 0;
        self.send(&[&[command], payload].concat()).await
    }

    /// The same with TLS from here on.
    pub async fn encrypt(self) -> Result<Self, String> {
        Ok(Self { wire: self.wire.encrypt().await?, position: self.position })
    }

    /// Whether it speaks TLS.
    pub fn is_secure(&self) -> bool {
        self.wire.secure
    }
}

/// A packet being read.
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// From its beginning.
    pub fn new(packet: &'a [u8]) -> Self {
        Self(packet)
    }

    /// So many bytes.
    pub fn bytes(&mut self, n: usize) -> Result<&'a [u8], String> {
        let (bytes, rest) = self.0.split_at_checked(n).ok_or_else(unexpected)?;
        self.0 = rest;
        Ok(bytes)
    }

    /// One byte.
    pub fn byte(&mut self) -> Result<u8, String> {
        Ok(self.bytes(1)?[0])
    }

    /// An integer of up to eight bytes, the least first.
    pub fn integer(&mut self, n: usize) -> Result<u64, String> {
        Ok(self.bytes(n)?.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte)))
    }

    /// An integer that tells its own length; none for the mark of a null.
    pub fn length(&mut self) -> Result<Option<u64>, String> {
        Ok(match self.byte()? {
            0xfb => None,
            0xfc => Some(self.integer(2)?),
            0xfd => Some(self.integer(3)?),
            0xfe => Some(self.integer(8)?),
            0xff => return Err(unexpected()),
            byte => Some(byte.into()),
        })
    }

    /// A string behind its length; none for a null.
    pub fn string(&mut self) -> Result<Option<&'a [u8]>, String> {
        let Some(length) = self.length()? else { return Ok(None) };
        self.bytes(usize::try_from(length).map_err(|_| unexpected())?).map(Some)
    }

    /// A string before a zero byte, or the end.
    pub fn until_zero(&mut self) -> Result<&'a [u8], String> {
        let end = self.0.iter().position(|b| *b == 0).unwrap_or(self.0.len());
        let text = self.bytes(end)?;
        if !self.0.is_empty() {
            self.byte()?;
        }
        Ok(text)
    }

    /// What is left.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }
}

/// A refusal: its number, and the server's words with number and SQLSTATE.
pub fn refused(packet: &[u8]) -> (u64, String) {
    let mut reader = Reader::new(packet.get(1..).unwrap_or_default());
    let code = reader.integer(2).unwrap_or(0);
    let text = String::from_utf8_lossy(reader.rest());
    match text.strip_prefix('#').and_then(|t| t.split_at_checked(5)) {
        Some((state, message)) => (code, format!("{message} (error {code}, SQLSTATE {state})")),
        None => (code, format!("{text} (error {code})")),
    }
}

/// What is said of what no server should send.
pub fn unexpected() -> String {
    "the database server sent what MySQL's protocol does not expect here".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_read_and_never_beyond() {
        let mut reader = Reader::new(&[0x05, 0xfb, 0xfc, 1, 1, 3, b'a', b'b', b'c', b'x', 0, 9]);
        assert_eq!(reader.length(), Ok(Some(5)));
        assert_eq!(reader.length(), Ok(None));
        assert_eq!(reader.length(), Ok(Some(257)));
        assert_eq!(reader.string(), Ok(Some(&b"abc"[..])));
        assert_eq!(reader.until_zero(), Ok(&b"x"[..]));
        assert!(reader.integer(2).is_err());
        assert!(Reader::new(&[0xfe, 255, 255, 255, 255, 255, 255, 255, 255]).string().is_err());
        assert!(Reader::new(&[]).byte().is_err());
    }

    #[test]
    fn refusals_are_told() {
        assert_eq!(refused(b"\xff\x7a\x04#42S02No such table").1, "No such table (error 1146, SQLSTATE 42S02)");
        assert_eq!(refused(b"\xff\x7a\x04No").1, "No (error 1146)");
        assert_eq!(refused(b"\xff").0, 0);
    }
}
