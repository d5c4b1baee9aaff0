import type { Condition, Tab } from "./wire";

// How much larger all is on a wall than on a desk, as style.css has it.
export const scale = () => Math.min(2, Math.max(1, innerWidth * 0.0075 / 16));

const two = (n: number) => String(n).padStart(2, "0");

// As the customer's screens have it: 23/10/2024 22:27:08.
export function stamp(ms: number): string {
  const d = new Date(ms);
  return `${two(d.getDate())}/${two(d.getMonth() + 1)}/${d.getFullYear()} ${clock(ms)}`;
}

export function clock(ms: number): string {
  const d = new Date(ms);
  return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
}

export function ago(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
}

export function amount(x: number | undefined | null): string {
  if (x === undefined || x === null || !Number.isFinite(x)) return "–";
  if (x >= 1e6) return `${(x / 1e6).toFixed(x < 1e7 ? 2 : 1)} M`;
  if (x >= 1e4) return `${(x / 1e3).toFixed(x < 1e5 ? 1 : 0)} k`;
  return String(Math.round(x));
}

export const titles: Record<Tab, string> = {
  cpu: "CPU", ram: "RAM", network: "Network", alerts: "Alerts", status: "Command status", public: "Public messages",
};

export function topics(root: string, tab: Tab): string {
  switch (tab) {
    case "cpu": return `${root}/metrics/cpu`;
    case "ram": return `${root}/metrics/ram`;
    case "network": return `${root}/metrics/network`;
    case "alerts": return `${root}/alerts`;
    case "status": return `${root}/status/#, ${root}/control/command`;
    case "public": return "public/#";
  }
}

export const words: Record<Condition, string> = {
  waiting: "Waiting for the sensor",
  silent: "Sensor silent",
  beyond: "Beyond this host",
  challenging: "Challenging",
  limiting: "Limiting",
  attack: "Under attack",
  strained: "Strained",
  calm: "Calm",
};
