"""Clients that keep their connections and ask again as soon as they are answered, until their server
takes no more connections."""
import collections
import http.client
import threading


class Crowd:
    def __init__(self, count, port, ask):
        """ask: gives (method, path, body, headers) of the next request."""
        self.port, self.ask, self.lock = port, ask, threading.Lock()
        self.codes = collections.Counter()
        self.last = 0  # answers that were said to be their connection's last
        self.lost = []  # requests that got no answer on a connection that was to be kept
        self.threads = [threading.Thread(target=self.client) for _ in range(count)]
        for t in self.threads:
            t.start()

    def client(self):
        while self.connection():
            pass

    def connection(self):
        """From its first request to its last; False: there was none."""
        c, answered = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20), 0
        try:
            while True:
                c.request(*self.ask())
                with c.getresponse() as r:
                    r.read()
                    over = r.getheader("Connection", "").lower() == "close"
                    with self.lock:
                        self.codes[r.status] += 1
                        self.last += over
                answered += 1
                if over:
                    return True
        except (OSError, http.client.HTTPException) as why:
            if answered:
                with self.lock:
                    self.lost.append(repr(why))
            return False
        finally:
            c.close()

    def wait(self):
        for t in self.threads:
            t.join()
