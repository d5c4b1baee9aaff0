// The connection to the server: it comes back by itself, ever more slowly, and says when it is gone.

import type { Message } from "./wire";

const firstPause = 250;
const longestPause = 10_000;
const deadAfter = 7000; // without a word: the server sends a beat every 2 s. A cut cable or a frozen server closes nothing

export interface Live {
  end(): void;
  show(root: string): void;
}

// What the server closes a connection with when somebody has been signed out.
const signedOut = 4401;

export function connect(take: (m: Message) => void, lost: (isLost: boolean) => void, out: () => void): Live {
  let socket: WebSocket | undefined;
  let pause = firstPause;
  let wanted: string | undefined;
  let ended = false;
  let heard = 0;

  const open = () => {
    if (ended) return;
    const url = new URL("api/live", location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const s = new WebSocket(url);
    socket = s;
    heard = Date.now();
    s.onopen = () => {
      if (wanted !== undefined) s.send(JSON.stringify({ show: wanted }));
    };
    s.onmessage = (e) => {
      if (s !== socket) return;
      heard = Date.now();
      pause = firstPause;
      lost(false);
      take(JSON.parse(e.data) as Message);
    };
    s.onclose = (e) => gone(s, e.code);
  };
  const gone = (s: WebSocket, code?: number) => {
    if (ended || s !== socket) return;
    socket = undefined;
    lost(true);
    if (code === signedOut) return out();
    void fetch("api/session", { signal: AbortSignal.timeout(deadAfter) }).then((r) => r.status === 401 && out(), () => undefined); // a refused connection doesn't say why
    setTimeout(open, pause * (0.5 + Math.random()));
    pause = Math.min(2 * pause, longestPause);
  };
  const watch = setInterval(() => {
    if (!socket || Date.now() - heard < deadAfter) return;
    const s = socket;
    gone(s);
    s.close(); // which may take long
  }, 1000);
  open();
  return {
    end() {
      ended = true;
      clearInterval(watch);
      socket?.close();
    },
    show(root) {
      wanted = root;
      if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ show: root }));
    },
  };
}
