// Who is signed in: a demonstration with one person, to be replaced by your app's own sessions.

import { createHmac, timingSafeEqual } from "node:crypto";

export const SESSION_COOKIE = "session";

const PEOPLE = {
  ada: {
    tenant: "dev",
    user: {
      user_id: "ada",
      user_email: "ada@example.com",
      user_name: "Ada",
      user_type: "internal",
    },
  },
};

/** A value for the cookie that nobody else can make. */
export function newSession(person) {
  return `${person}.${signature(person)}`;
}

/** {tenant, user} of the person that a cookie names, or null. */
export function readSession(cookie) {
  const [person, given = ""] = (cookie ?? "").split(".");
  const expected = Buffer.from(signature(person));
  const signed = Buffer.from(given);
  if (signed.length !== expected.length || !timingSafeEqual(signed, expected)) return null;
  return Object.hasOwn(PEOPLE, person) ? PEOPLE[person] : null;
}

function signature(person) {
  const secret = process.env.SESSION_SECRET;
  if (!secret) throw new Error("SESSION_SECRET is not set");
  return createHmac("sha256", secret).update(person).digest("base64url");
}
