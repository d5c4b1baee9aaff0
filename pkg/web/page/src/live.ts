// The connection to the server: it comes back by itself, ever more slowly, and says when it is gone.

import type { Message } from "./wire";

const firstPause = 250;
const longestPause = 10_000;

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

  const open = () => {
    if (ended) return;
    const url = new URL("api/live", location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const s = new WebSocket(url);
    socket = s;
    s.onopen = () => {
      pause = firstPause;
      lost(false);
      if (wanted !== undefined) s.send(JSON.stringify({ show: wanted }));
    };
    s.onmessage = (e) => take(JSON.parse(e.data) as Message);
    s.onclose = (e) => {
      if (ended) return;
      lost(true);
      if (e.code === signedOut) return out();
      void fetch("api/session").then((r) => r.status === 401 && out(), () => undefined); // a refused connection doesn't say why
      setTimeout(open, pause * (0.5 + Math.random()));
      pause = Math.min(2 * pause, longestPause);
    };
  };
  open();
  return {
    end() {
      ended = true;
      socket?.close();
    },
    show(root) {
      wanted = root;
      if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ show: root }));
    },
  };
}
