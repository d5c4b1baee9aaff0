// Passkeys: a second factor that can't be phished. The server's and the browser's own JSON say what is asked for and answered.

import { useEffect, useRef, useState } from "preact/hooks";
import { store } from "./store";

interface Passkey {
  name: string;
  id: string;
  added: string;
  synced: boolean;
}

// Whether this browser can, at the name that passkeys are bound to.
export function possible(host: string | undefined): boolean {
  const here = location.hostname;
  return !!host && (here === host || here.endsWith(`.${host}`)) && "PublicKeyCredential" in window && "parseRequestOptionsFromJSON" in PublicKeyCredential;
}

// What the server says, or its complaint as an error.
async function ask<T>(method: string, path: string, body?: unknown): Promise<T> {
  const response = await fetch(`api/session/${path}`, {
    method, headers: { "Content-Type": "application/json", "Weir-Token": store.me?.token ?? "" }, body: body === undefined ? undefined : JSON.stringify(body),
  });
  const said = (await response.json()) as T & { error?: string };
  if (!response.ok) throw new Error(said.error ?? `the page's server says ${response.status}`);
  return said;
}

// Why it went wrong, in words that say what to do.
export function reason(e: unknown): string {
  if (e instanceof DOMException && e.name === "NotAllowedError") return "no passkey was used: it was cancelled, or none for this page is at hand";
  if (e instanceof DOMException && e.name === "InvalidStateError") return "that device has a passkey of yours already";
  return e instanceof TypeError ? "the page's server can't be reached" : e instanceof Error ? e.message : String(e);
}

// Has a challenge of the server's signed.
export async function sign(): Promise<unknown> {
  const options = await ask<PublicKeyCredentialRequestOptionsJSON>("GET", "challenge");
  const credential = await navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) });
  return (credential as PublicKeyCredential).toJSON();
}

async function make(password: string, name: string): Promise<Passkey[]> {
  const options = await ask<PublicKeyCredentialCreationOptionsJSON>("POST", "enrolment", { password });
  const credential = await navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) });
  return ask<Passkey[]>("POST", "passkeys", { name, passkey: (credential as PublicKeyCredential).toJSON() });
}

// Whoever is signed in sees his own, adds one and takes one away.
export function Passkeys({ close }: { close: () => void }) {
  const box = useRef<HTMLDialogElement>(null);
  const [all, setAll] = useState<Passkey[]>();
  const [name, setName] = useState("");
  const [password, setPassword] = useState("");
  const [busy, setBusy] = useState(false);
  const [fault, setFault] = useState("");
  const run = async (f: () => Promise<Passkey[]>) => {
    setBusy(true);
    setFault("");
    try {
      setAll(await f());
      setName("");
    } catch (e) {
      setFault(reason(e));
    } finally {
      setPassword("");
      setBusy(false);
    }
  };
  useEffect(() => {
    box.current?.showModal();
    void run(() => ask("GET", "passkeys"));
  }, []);
  return (
    <dialog ref={box} onClose={close} aria-labelledby="passkeys" class="passkeys">
      <h2 id="passkeys">Your passkeys</h2>
      <p class="dim">A passkey takes the place of the authenticator's code: a security key, this computer or a phone. It works at {location.hostname} only.</p>
      {all?.length === 0 && <p>None yet.</p>}
      <ul>
        {all?.map((p) => (
          <li key={p.id} class="bar between">
            <span>{p.name} <span class="dim">since {p.added.slice(0, 10)}{p.synced && ", synced"}</span></span>
            <button type="button" disabled={busy} aria-label={`Remove ${p.name}`} onClick={() => void run(() => ask("DELETE", `passkeys?id=${encodeURIComponent(p.id)}`))}>Remove</button>
          </li>
        ))}
      </ul>
      <form onSubmit={(e) => { e.preventDefault(); void run(() => make(password, name)); }}>
        <label>Name for a new one <input required maxLength={40} value={name} placeholder="blue security key" onInput={(e) => setName(e.currentTarget.value)} /></label>
        <label>Your password <input type="password" autocomplete="current-password" required value={password} onInput={(e) => setPassword(e.currentTarget.value)} /></label>
        <p role="alert" class="fault">{fault}</p>
        <div class="bar">
          <button class="primary" disabled={busy} aria-busy={busy}>Add a passkey{busy && " …"}</button>
          <button type="button" onClick={() => box.current?.close()}>Close</button>
        </div>
      </form>
    </dialog>
  );
}
