// The connection to the server: it comes back by itself, ever more slowly, and says when it is gone.

import type { Message } from "./wire";

const firstPause = 250;
const longestPause = 10_000;

export interface Live {
  show(root: string): void;
}

export function connect(take: (m: Message) => void, lost: (isLost: boolean) => void): Live {
  let socket: WebSocket | undefined;
  let pause = firstPause;
  let wanted: string | undefined;

  const open = () => {
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
    s.onclose = () => {
      lost(true);
      setTimeout(open, pause * (0.5 + Math.random()));
      pause = Math.min(2 * pause, longestPause);
    };
  };
  open();
  return {
    show(root) {
      wanted = root;
      if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ show: root }));
    },
  };
}
