/** A TCP proxy that cuts and delays. */
import { createServer, connect, type AddressInfo, type Socket } from "node:net";

export interface TcpProxy {
  readonly port: number;
  /** Bytes that went to the server so far. */
  up: number;
  /** Bytes that may still go to the server, over all connections, before everything is cut; then it is off again. */
  cutAfterUp: number;
  /** The same for bytes to the client. */
  cutAfterDown: number;
  /** How long each piece waits, either way. */
  delayMs: number;
  close(): Promise<void>;
}

export async function startProxy(to: number): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  const proxy = { port: 0, up: 0, cutAfterUp: Infinity, cutAfterDown: Infinity, delayMs: 0 };

  function pass(from: Socket, into: Socket, isUp: boolean): void {
    from.on("data", (bytes) => {
      from.pause();
      if (isUp) proxy.up += bytes.length;
      const left = isUp ? (proxy.cutAfterUp -= bytes.length) : (proxy.cutAfterDown -= bytes.length);
      if (left < 0) {
        if (isUp) proxy.cutAfterUp = Infinity;
        else proxy.cutAfterDown = Infinity;
        return cut();
      }
      const go = () => void (into.destroyed || into.write(bytes, () => from.resume()));
      if (proxy.delayMs > 0) setTimeout(go, proxy.delayMs);
      else go();
    });
    from.on("end", () => into.end());
    from.on("error", () => into.destroy());
    from.on("close", () => (sockets.delete(from), into.destroy()));
  }

  const server = createServer((client) => {
    const upstream = connect(to, "127.0.0.1");
    for (const socket of [client, upstream]) sockets.add(socket);
    pass(client, upstream, true);
    pass(upstream, client, false);
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return Object.assign(proxy, {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise<void>((done) => {
        server.close(() => done());
        cut();
      }),
  });
}
