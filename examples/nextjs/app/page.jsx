import { cookies } from "next/headers";

import { extensionPage } from "../lib/gateway";
import { SESSION_COOKIE, readSession } from "../lib/session";
import { ExtensionFrame } from "./extension-frame";
import { signIn, signOut } from "./session-actions";
import { ThemeButton } from "./theme-button";

const MOST_FRAMES = 4;

/** The extensions that the address names (`?extension=a&extension=b`), each in its frame. */
export default async function Page({ searchParams }) {
  const session = readSession((await cookies()).get(SESSION_COOKIE)?.value);
  if (session === null) {
    return (
      <main>
        <h1>An app with extensions</h1>
        <form action={signIn}>
          <button>Sign in as Ada</button>
        </form>
      </main>
    );
  }
  const named = (await searchParams).extension ?? "example.hello";
  const extensions = [named].flat().slice(0, MOST_FRAMES);
  const pages = await Promise.all(extensions.map((each) => extensionPage(each, session)));
  return (
    <main>
      <header>
        <h1>An app with extensions</h1>
        <p>Signed in as {session.user.user_name}</p>
        <ThemeButton />
        <form action={signOut}>
          <button>Sign out</button>
        </form>
      </header>
      {extensions.map((extension, index) => (
        <section key={`${index} ${extension}`}>
          <h2>{extension}</h2>
          {pages[index] === null ? (
            <p>This extension is not installed.</p>
          ) : (
            <ExtensionFrame extension={extension} url={pages[index]} />
          )}
        </section>
      ))}
    </main>
  );
}
