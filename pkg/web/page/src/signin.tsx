// Who sits there? Where nobody has to sign in, nothing of this is seen.

import { useEffect, useRef, useState } from "preact/hooks";
import { store, useStore } from "./store";
import type { Person } from "./wire";

export function SignIn() {
  const [name, setName] = useState("");
  const [password, setPassword] = useState("");
  const [code, setCode] = useState("");
  const [busy, setBusy] = useState(false);
  const [fault, setFault] = useState("");
  const first = useRef<HTMLInputElement>(null);
  useEffect(() => first.current?.focus(), []);

  const enter = async (e: Event) => {
    e.preventDefault();
    setBusy(true);
    setFault("");
    try {
      const response = await fetch("api/session", {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ name, password, code }),
      });
      const said = (await response.json()) as Person & { error?: string };
      if (response.ok) return store.enter(said);
      setFault(said.error ?? `the page's server says ${response.status}`);
      setCode("");
    } catch {
      setFault("the page's server can't be reached");
    } finally {
      setBusy(false);
    }
  };
  return (
    <main class="signin">
      <form onSubmit={enter} aria-labelledby="title">
        <h1 id="title">weir</h1>
        <label>Name <input ref={first} autocomplete="username" autocapitalize="none" required value={name} onInput={(e) => setName(e.currentTarget.value)} /></label>
        <label>Password <input type="password" autocomplete="current-password" required value={password} onInput={(e) => setPassword(e.currentTarget.value)} /></label>
        <label>Code of the authenticator <input inputMode="numeric" autocomplete="one-time-code" value={code} onInput={(e) => setCode(e.currentTarget.value)} /></label>
        <p role="alert" class="fault">{fault}</p>
        <button class="primary" disabled={busy} aria-busy={busy}>Sign in{busy && " …"}</button>
      </form>
    </main>
  );
}

// The name of whoever is signed in, and the way out.
export function Me() {
  const s = useStore();
  if (!s.me?.name) return null;
  const out = async () => {
    await fetch("api/session", { method: "DELETE", headers: { "Weir-Token": s.me?.token ?? "" } }).catch(() => undefined);
    s.leave();
  };
  return <div class="me">{s.me.name} ({s.me.role}) <button type="button" onClick={out}>Sign out</button></div>;
}
