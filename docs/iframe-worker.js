/**
 * Search in pages that are read from a folder: browsers start no worker from a file, so the worker's script runs in a
 * hidden frame instead. From a server nothing changes.
 *
 * The name tells the theme's offline plugin that nothing like it has to be fetched from another host.
 */
"use strict";

if (location.protocol === "file:") {
  /** What a page needs of a Worker: messages there and back. */
  class FrameWorker extends EventTarget {
    /** @param {string|URL} address of the worker's script. */
    constructor(address) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      this.room = frame.contentWindow;
      // The worker speaks to its page, and knows no other window.
      this.room.postMessage = (data) => {
        this.dispatchEvent(new MessageEvent("message", { data }));
      };
      this.ready = added(this.room, String(address));
    }

    /** @param {*} data for the worker. */
    postMessage(data) {
      this.ready.then(() => {
        this.room.dispatchEvent(new this.room.MessageEvent("message", { data }));
      });
    }

    /** End it. */
    terminate() {
      this.room.frameElement.remove();
    }
  }

  /**
   * Run a script in a frame.
   *
   * @param {Window} room
   * @param {string} address
   * @returns {Promise<void>} when it has run.
   */
  function added(room, address) {
    return new Promise((resolve, reject) => {
      const script = room.document.createElement("script");
      script.addEventListener("load", () => resolve());
      script.addEventListener("error", reject);
      script.src = address;
      room.document.body.append(script);
    });
  }

  window.Worker = FrameWorker;
}
