//! MySQL's greeting and login (MySQL's documentation, chapter "Client/Server Protocol", "Connection Phase"), with the two
//! login methods that MySQL and MariaDB have by default.

use aws_lc_rs::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

use super::{
    SqlConfig,
    mysql_packet::{Packets, Reader, refused, unexpected},
};

const LONG_PASSWORD: u32 = 1;
const CONNECT_WITH_DB: u32 = 1 << 3;
const PROTOCOL_41: u32 = 1 << 9;
const SSL: u32 = 1 << 11;
const TRANSACTIONS: u32 = 1 << 13;
const SECURE_CONNECTION: u32 = 1 << 15;
// Of procedures. Neither several statements in one (1 << 16) nor files of ours (1 << 7) are offered to the server.
const MULTI_RESULTS: u32 = 1 << 17;
const PLUGIN_AUTH: u32 = 1 << 19;

/// utf8mb4_general_ci.
const CHARSET: u8 = 45;

/// What the server says first.
#[derive(Debug, PartialEq)]
struct Greeting {
    is_mariadb: bool,
    capabilities: u32,
    nonce: Vec<u8>,
    method: String,
}

fn greeting(packet: &[u8]) -> Result<Greeting, String> {
    let mut reader = Reader::new(packet);
    match reader.byte()? {
        10 => {}
        0xff => return Err(refused_login(packet)),
        _ => return Err("the database server does not speak MySQL's protocol".to_owned()),
    }
    let is_mariadb = String::from_utf8_lossy(reader.until_zero()?).contains("MariaDB");
    reader.bytes(4)?;
    let mut nonce = reader.bytes(8)?.to_vec();
    reader.byte()?;
    let low = reader.integer(2)?;
    reader.bytes(3)?;
    let capabilities = u32::try_from(low | reader.integer(2)? << 16).map_err(|_| unexpected())?;
    let length = usize::from(reader.byte()?);
    reader.bytes(10)?;
    // The second part of the nonce is padded to 13 bytes, the last of them zero.
    nonce.extend_from_slice(reader.bytes(length.saturating_sub(8).max(13))?);
    nonce.truncate(20);
    let method = if capabilities & PLUGIN_AUTH == 0 { String::new() } else { String::from_utf8_lossy(reader.until_zero()?).into_owned() };
    Ok(Greeting { is_mariadb, capabilities, nonce, method })
}

/// Logs in. Returns the connection, and whether the server is MariaDB.
pub async fn login(mut packets: Packets, tls: bool, config: &SqlConfig) -> Result<(Packets, bool), String> {
    let greeting = greeting(&packets.receive().await?)?;
    let mut flags = LONG_PASSWORD | PROTOCOL_41 | TRANSACTIONS | SECURE_CONNECTION | MULTI_RESULTS | PLUGIN_AUTH;
    if config.database.is_some() {
        flags |= CONNECT_WITH_DB;
    }
    let head = |flags: u32| [&flags.to_le_bytes()[..], &(16u32 << 20).to_le_bytes(), &[CHARSET], &[0; 23]].concat();
    if tls {
        if greeting.capabilities & SSL == 0 {
            return Err("the database server does not speak TLS (\"tls\": false turns it off)".to_owned());
        }
        flags |= SSL;
        packets.send(&head(flags)).await?;
        packets = packets.encrypt().await?;
    }
    let password = config.password.as_deref().unwrap_or_default();
    // A server that knows another method asks for it.
    let method = if greeting.method == "caching_sha2_password" { greeting.method.as_str() } else { "mysql_native_password" };
    let proof = proof(method, password, &greeting.nonce)?;
    let mut response = head(flags);
    response.extend([config.user.as_deref().unwrap_or("root").as_bytes(), &[0, u8::try_from(proof.len()).unwrap_or(0)], &proof].concat());
    for text in config.database.as_deref().into_iter().chain([method]) {
        response.extend([text.as_bytes(), &[0]].concat());
    }
    packets.send(&response).await?;
    finish(&mut packets, password, method.to_owned()).await?;
    Ok((packets, greeting.is_mariadb))
}

/// From the response to the server's consent.
async fn finish(packets: &mut Packets, password: &str, mut method: String) -> Result<(), String> {
    let mut switched = false;
    loop {
        let packet = packets.receive().await?;
        match packet.as_slice() {
            [0, ..] => return Ok(()),
            [0xff, ..] => return Err(refused_login(&packet)),
            [0xfe, rest @ ..] if !switched && !rest.is_empty() => {
                switched = true;
                let mut reader = Reader::new(rest);
                method = String::from_utf8_lossy(reader.until_zero()?).into_owned();
                let nonce = reader.rest();
                packets.send(&proof(&method, password, &nonce[..nonce.len().min(20)])?).await?;
            }
            // The server remembers the password: its consent follows.
            [1, 3] if method == "caching_sha2_password" => {}
            // It does not, and wants to see it.
            [1, 4] if method == "caching_sha2_password" => {
                if !packets.is_secure() {
                    return Err("the database server wants the password itself, which goes over TLS only: set \"tls\": true".to_owned());
                }
                packets.send(&[password.as_bytes(), &[0]].concat()).await?;
            }
            _ => return Err(unexpected()),
        }
    }
}

/// What proves that we know the password, without telling it.
fn proof(method: &str, password: &str, nonce: &[u8]) -> Result<Vec<u8>, String> {
    let of = |algorithm: &'static Algorithm, parts: &[&[u8]]| digest(algorithm, &parts.concat()).as_ref().to_vec();
    let mask = |a: Vec<u8>, b: Vec<u8>| a.iter().zip(&b).map(|(a, b)| a ^ b).collect();
    match method {
        _ if password.is_empty() => Ok(Vec::new()),
        "mysql_native_password" => {
            let once = of(&SHA1_FOR_LEGACY_USE_ONLY, &[password.as_bytes()]);
            let twice = of(&SHA1_FOR_LEGACY_USE_ONLY, &[&once]);
            Ok(mask(once, of(&SHA1_FOR_LEGACY_USE_ONLY, &[nonce, &twice])))
        }
        "caching_sha2_password" => {
            let once = of(&SHA256, &[password.as_bytes()]);
            let twice = of(&SHA256, &[&once]);
            Ok(mask(once, of(&SHA256, &[&twice, nonce])))
        }
        _ => {
            Err("the database server wants a way of logging in that is not supported (mysql_native_password and caching_sha2_password are)"
                .to_owned())
        }
    }
}

/// Why nobody could log in. The server's words name the user, and the address that we came from.
fn refused_login(packet: &[u8]) -> String {
    match refused(packet).0 {
        code @ (1044 | 1045) => format!("the database server refused the user, the password or the database for this user (error {code})"),
        1049 => "there is no database of this name (error 1049)".to_owned(),
        1040 => "the database server has too many connections (error 1040)".to_owned(),
        code @ (1129 | 1130) => format!("the database server lets nobody in from here (error {code})"),
        3159 => "the database server wants TLS: set \"tls\": true (error 3159)".to_owned(),
        code => format!("the database server refused the connection (error {code})"),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;
    use crate::agent::tools::sql::wire::Wire;

    const OK: [u8; 7] = [0, 0, 0, 2, 0, 0, 0];

    fn nonce() -> Vec<u8> {
        (1..=20).collect()
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    fn hello(method: &str) -> Vec<u8> {
        let capabilities = (PROTOCOL_41 | SECURE_CONNECTION | PLUGIN_AUTH).to_le_bytes();
        let nonce = nonce();
        let mut packet =
            [b"\x0a8.0.36\0\x01\0\0\0", &nonce[..8], &[0], &capabilities[..2], &[45, 2, 0], &capabilities[2..], &[21], &[0; 10]].concat();
        packet.extend([&nonce[8..], &[0], method.as_bytes(), &[0]].concat());
        packet
    }

    /// A server that greets, and then sends these packets, each bunch after a packet of the client's. Returns what it heard.
    async fn play(mut stream: DuplexStream, bunches: Vec<Vec<Vec<u8>>>) -> Vec<Vec<u8>> {
        let (mut heard, mut position) = (Vec::new(), 0);
        for (i, bunch) in bunches.into_iter().enumerate() {
            if i > 0 {
                let mut header = [0; 4];
                if stream.read_exact(&mut header).await.is_err() {
                    break;
                }
                let mut body = vec![0; usize::from(header[0])];
                stream.read_exact(&mut body).await.expect("a packet");
                position = header[3] + 1;
                heard.push(body);
            }
            for packet in bunch {
                let _ = stream.write_all(&[&[packet.len() as u8, 0, 0, position][..], &packet].concat()).await;
                position += 1;
            }
        }
        heard
    }

    async fn try_login(bunches: Vec<Vec<Vec<u8>>>) -> (Result<bool, String>, Vec<Vec<u8>>) {
        let (ours, theirs) = duplex(1 << 16);
        let config = serde_json::json!({"driver": "mysql", "user": "u", "password": "sesame-open", "database": "d"});
        let config: SqlConfig = serde_json::from_value(config).expect("a configuration");
        let packets = Packets::new(Wire::over(ours, "db.test"));
        tokio::join!(async { login(packets, false, &config).await.map(|(_, is_mariadb)| is_mariadb) }, play(theirs, bunches))
    }

    #[test]
    fn proofs_are_as_documented() {
        let native = "3c294c476596a37cbd0798b5c7e7f4bdb9c78bc9";
        let sha2 = "139a2266e665ef91c765cbcf5716c7340579b138d68b9afe85af91195ba8e77a";
        assert_eq!(hex(&proof("mysql_native_password", "sesame-open", &nonce()).expect("a proof")), native);
        assert_eq!(hex(&proof("caching_sha2_password", "sesame-open", &nonce()).expect("a proof")), sha2);
        assert_eq!(proof("mysql_clear_password", "", &[]), Ok(vec![]));
        assert!(proof("mysql_clear_password", "sesame-open", &[]).is_err());
    }

    #[tokio::test]
    async fn a_remembered_password_is_enough() {
        let (result, heard) = try_login(vec![vec![hello("caching_sha2_password")], vec![vec![1, 3], OK.to_vec()]]).await;
        assert_eq!(result, Ok(false));
        let flags = u32::from_le_bytes([heard[0][0], heard[0][1], heard[0][2], heard[0][3]]);
        // Neither several statements nor local files.
        assert_eq!(flags & (1 << 16 | 1 << 7), 0);
        assert!(heard[0].ends_with(b"d\0caching_sha2_password\0") && heard[0][32..].starts_with(b"u\0\x20"));
    }

    #[tokio::test]
    async fn the_password_itself_is_not_said_in_clear() {
        let (result, heard) = try_login(vec![vec![hello("caching_sha2_password")], vec![vec![1, 4]], vec![]]).await;
        assert!(result.expect_err("no TLS").contains("TLS"));
        let (result, clear) = try_login(vec![vec![hello("x")], vec![b"\xfemysql_clear_password\0".to_vec()], vec![]]).await;
        assert!(result.expect_err("no clear text").contains("not supported"));
        assert!(heard.iter().chain(&clear).all(|packet| !packet.windows(11).any(|w| w == b"sesame-open")));
    }

    #[tokio::test]
    async fn another_method_is_taken_up_once() {
        let switch = [&b"\xfemysql_native_password\0"[..], &nonce(), &[0]].concat();
        let (result, heard) = try_login(vec![vec![hello("caching_sha2_password")], vec![switch.clone()], vec![vec![0xff, 0x15, 4, b'#']]]).await;
        assert_eq!(hex(&heard[1]), "3c294c476596a37cbd0798b5c7e7f4bdb9c78bc9");
        assert!(result.expect_err("refused").contains("1045"));
        assert!(try_login(vec![vec![hello("x")], vec![switch.clone()], vec![switch]]).await.0.is_err());
    }

    #[tokio::test]
    async fn nonsense_is_refused() {
        for first in [vec![], vec![9], vec![10], b"\x0a8.0\0abc".to_vec(), vec![0xff, 0x10, 4], b"HTTP/1.1 400".to_vec()] {
            assert!(try_login(vec![vec![first.clone()], vec![vec![0xfe]]]).await.0.is_err(), "{first:?}");
        }
    }
}
