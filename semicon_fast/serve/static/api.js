// Requests to this server. Every error becomes a Failure with a message that can be shown.

export class Failure extends Error {}

const TRIES = 4;

async function answered(address, options) {
  let response;
  for (let attempt = 1; ; attempt += 1) {
    try {
      response = await fetch(address, options);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Failure("The server does not answer. Is it still running?");
    }
    if (response.status !== 503 || attempt === TRIES) break;
    const seconds = Number(response.headers.get("Retry-After")) || 1;
    await new Promise((done) => setTimeout(done, Math.min(seconds, 5) * 1000));
  }
  let value = {};
  try {
    value = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
  }
  if (response.ok) return value;
  const said = value.detail || `the server answered ${response.status}`;
  throw new Failure(said.charAt(0).toUpperCase() + said.slice(1) + ".");
}

export function get(address, signal) {
  return answered(address, { signal });
}

export function send(address, file, signal) {
  const headers = { "Content-Type": file.type || "image/*" };
  return answered(address, { method: "POST", body: file, headers, signal });
}
