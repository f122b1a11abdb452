//! Lines over TCP: the color at once, and again after each interval, until the client or the program ends the connection.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    time::{MissedTickBehavior, interval, sleep},
};

use crate::{color::Color, end::End};

/// Accepts clients until the program closes its connections.
pub async fn serve(listener: TcpListener, color: Color, every: Duration, end: End) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = end.closing() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let (color, inner) = (color.clone(), end.clone());
                end.spawn(async move {
                    // A client that goes away in the middle is no error.
                    let _ = stream.set_nodelay(true);
                    let (input, output) = stream.into_split();
                    let _ = talk(input, output, &color, every, &inner).await;
                });
            }
            Err(error) => {
                eprintln!("accept: {error}");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Talks to one client. Ends when the client has gone, or when the program closes its connections. A client that only ends its
/// own direction is still listening.
async fn talk(
    mut input: impl AsyncRead + Unpin,
    mut output: impl AsyncWrite + Unpin,
    color: &Color,
    every: Duration,
    end: &End,
) -> io::Result<()> {
    let line = format!("{}\n", color.line());
    let mut ignored = [0; 1024];
    let mut listens = true;
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => output.write_all(line.as_bytes()).await?,
            read = input.read(&mut ignored), if listens => listens = read? > 0,
            () = end.closing() => return output.shutdown().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, BufReader, duplex};

    use super::*;

    const EVERY: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn says_the_color_at_once_and_again() {
        let (client, server) = duplex(1024);
        let end = End::default();
        let talking = end.clone();
        let task = tokio::spawn(async move {
            let (input, output) = tokio::io::split(server);
            talk(input, output, &"000000".parse().unwrap(), EVERY, &talking).await
        });
        let (client_input, mut client_output) = tokio::io::split(client);
        let mut lines = BufReader::new(client_input).lines();
        let start = tokio::time::Instant::now();
        for number in 0..3u32 {
            // Neither the client's bytes nor the end of its direction change anything.
            match number {
                0 => client_output.write_all(b"hello\n").await.unwrap(),
                1 => client_output.shutdown().await.unwrap(),
                _ => {}
            }
            assert_eq!(lines.next_line().await.unwrap().unwrap(), "The color is #000000");
            assert_eq!(start.elapsed(), EVERY * number);
        }
        end.close();
        assert_eq!(lines.next_line().await.unwrap(), None);
        task.await.unwrap().unwrap();
    }
}
