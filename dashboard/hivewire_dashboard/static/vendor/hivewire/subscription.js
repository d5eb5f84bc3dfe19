/**
 * One subscription over all connections: it resumes where it stood, and hands over what was pushed in whole groups.
 *
 * @typedef {object} Group what leads to a position, or a push without one
 * @property {Record<string, any>[]} frames the pushes, in order
 * @property {boolean} reset whether they replace everything before
 * @property {boolean} live whether the present is reached
 */

/** @typedef {Record<string, any>} Frame */

export class Subscription {
  #live = false;
  #reset = false;
  /** @type {Frame[]} */
  #held = [];

  /**
   * @param {string} action such as `configuration/subscribe`
   * @param {object} members of the request
   * @param {(group: Group) => void} take
   * @param {(error: Error) => void} fail it was refused, and is not followed any more
   * @param {(live: boolean) => void} [turn] it has reached the present, or is paused
   */
  constructor(action, members, take, fail, turn = () => {}) {
    this.action = action;
    this.members = members;
    this.take = take;
    this.fail = fail;
    this.turn = turn;
    /** @type {string | undefined} */
    this.position = /** @type {any} */ (members).since;
    this.reach = "";
    this.id = 0;
  }

  /**
   * The request that begins it, or goes on with it. A state that another token saw may lack what this one reaches.
   *
   * @param {string} reach of the token
   */
  request(reach) {
    if (this.reach && reach !== this.reach && !("resumable" in this.members)) this.position = undefined;
    this.reach = reach;
    return {...this.members, since: this.position};
  }

  /** The answer to the request: what follows it is pushed in the same breath. @param {Frame} reply */
  begin({subscriptionId, mode, position}) {
    this.id = subscriptionId;
    this.#reset = mode !== undefined && mode !== "resumed";
    // Without a position it is a plain one of DeviceHive: it only has what is new.
    if (mode === "live" || mode === undefined) {
      this.position = position;
      this.#turn(true);
    }
  }

  /** @param {Frame} frame */
  push(frame) {
    if (frame.action === "subscription/paused") return this.#turn(false);
    if (frame.reset) {
      this.#held = [];
      this.#reset = true;
    }
    this.#held.push(frame);
    // Without a position it is a part of a group; but one of a subscription without any, or about presence, is whole.
    const part = frame.more || frame.last === false || this.#held.length > 1;
    if (frame.position === undefined && part) return;
    if (frame.position !== undefined) this.position = frame.position;
    const group = {frames: this.#held, reset: this.#reset, live: frame.live === true || frame.last === true};
    this.#held = [];
    this.#reset = false;
    this.take(group);
    if (group.live) this.#turn(true);
  }

  /** The connection is lost: an unfinished group is discarded. */
  lose() {
    this.id = 0;
    this.#held = [];
    this.#live = false;
  }

  /** @param {boolean} live */
  #turn(live) {
    if (live === this.#live) return;
    this.#live = live;
    this.turn(live);
  }
}
