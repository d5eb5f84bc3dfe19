/** The current devices with their presence, networks and device types. They are followed while a component shows them. */

import {signal, useEffect, useMemo} from "../vendor/preact.js";
import {hw} from "./gateway.js";

/** Objects that are followed: a map by id, drawn at most once a frame. */
class Followed {
  items = new Map();
  #sorted = [];
  version = signal(0);
  ready = signal(false);
  error = signal(undefined);
  #users = 0;
  #stop = undefined;
  #drawing = false;

  /** `noun` is the noun of the actions, `list` the member of a snapshot, `one` that of a change, `id` that of its key. */
  constructor(noun, list, one, id, more = {}) {
    Object.assign(this, {noun, list, one, id, more});
  }

  /** All, by name. A component that reads it is drawn again when it changes. Nested components must read it themselves. */
  get sorted() {
    this.version.value;
    return this.#sorted;
  }

  /** Follow it as long as a component uses it. */
  use() {
    useEffect(() => {
      if (this.#users++ === 0) {
        this.error.value = undefined;
        const fail = (error) => (this.error.value = error);
        this.#stop = hw.follow(`${this.noun}/subscribe`, this.more, (group) => this.#take(group), fail);
      }
      return () => {
        if (--this.#users > 0) return;
        this.#stop();
        this.items.clear();
        this.ready.value = false;
        this.#draw();
      };
    }, []);
    return this.version.value;
  }

  #take({frames, reset}) {
    if (reset) this.items.clear();
    for (const frame of frames) {
      for (const each of frame[this.list] ?? []) this.items.set(each.id, each);
      if (frame.action.endsWith("/presence")) this.#presence(frame);
      else if (frame.operation === "delete") this.items.delete(frame[this.id]);
      else if (frame.operation) this.items.set(frame[this.one].id, {...this.items.get(frame[this.one].id), ...frame[this.one]});
    }
    this.ready.value = true;
    this.#draw();
  }

  #presence({deviceId, online, lastSeen}) {
    const known = this.items.get(deviceId);
    if (known) this.items.set(deviceId, {...known, online, lastSeen});
  }

  #draw() {
    if (this.#drawing) return;
    this.#drawing = true;
    requestAnimationFrame(() => {
      this.#drawing = false;
      this.#sorted = [...this.items.values()].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.id < b.id ? -1 : 1));
      this.version.value += 1;
    });
  }
}

export const devices = new Followed("device", "devices", "device", "deviceId", {presence: true});
export const networks = new Followed("network", "networks", "network", "networkId");
export const types = new Followed("devicetype", "deviceTypes", "deviceType", "deviceTypeId");

/** Follow one device, however many there are. */
export function useDevice(id) {
  const one = useMemo(() => new Followed("device", "devices", "device", "deviceId", {presence: true, deviceId: id}), [id]);
  one.use();
  return one;
}

/** The name of a network or a device type, or its number. */
export function called(followed, id) {
  followed.version.value;
  return followed.items.get(id)?.name ?? `${id ?? "–"}`;
}
