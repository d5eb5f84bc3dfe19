"use strict";
// The npm package `devicehive`, unmodified: everything that its API has over one transport, as an administrator and as
// a client of one network. Prints the methods that were called and those that the package has.
//
// node devicehive.cjs MODULES MAIN_URL AUTH_URL NAME LOGIN PASSWORD
const assert = require("assert").strict;
const [modules, main, auth, own, login, password] = process.argv.slice(2);
const DeviceHive = require(`${modules}/devicehive`);
const { Command, Configuration, Device, DeviceType, Network, Notification, User, UserToken, query } = DeviceHive.models;
const overHttp = main.startsWith("http");
const called = new Set();
const NOUNS = ["info", "device", "token", "network", "deviceType", "configuration", "command", "notification", "user"];

setTimeout(() => { console.error("nothing happens any more"); process.exit(1); }, 100_000).unref();

async function connect(credentials, options = {}) {
    const client = new DeviceHive({
        mainServiceURL: main, authServiceURL: auth, pluginServiceURL: main, ...credentials, ...options,
    });
    for (const noun of NOUNS) {
        client[noun] = new Proxy(client[noun], {
            get(api, name) {
                if (typeof api[name] === "function" && api.constructor.prototype.hasOwnProperty(name))
                    called.add(`${noun}.${name}`);
                return api[name];
            },
        });
    }
    client.got = [];
    client.on(DeviceHive.MESSAGE_EVENT, message => { client.got.push(message); client.heard && client.heard(); });
    client.on(DeviceHive.ERROR_EVENT, error => { throw new Error(error); });
    return client.connect();
}

async function refused(promise, words) {
    const told = await promise.then(() => "it was answered", error => String(error.message || error));
    assert.ok(told.includes(words), `${told} instead of ${words}`);
}

async function heard(client, matches) {
    for (;;) {
        const found = client.got.find(matches);
        if (found) return found;
        await new Promise(resolve => { client.heard = resolve; });
    }
}

async function groups(admin, api, noun, Model, name) {
    const { id } = await api.insert(new Model({ name, description: "first" }));
    assert.deepEqual(await api.list(new query[`${noun}ListQuery`]({ name })), [{ id, name, description: "first" }]);
    assert.deepEqual(await api.count(new query[`${noun}CountQuery`]({ namePattern: `${name}%` })), { count: 1 });
    await api.update(new Model({ id, name, description: "second" }));
    assert.deepEqual(await api.get(id), { devices: [], id, name, description: "second" });
    await refused(api.insert(new Model({ name })), "with such name already exists");
    assert.ok((await api.list()).length >= 2);
    return id;
}

async function users(admin, network, type) {
    const fields = { login: `${own}-user`, password: "a password", role: 1, status: 0, data: { a: 1 } };
    const { id } = await admin.user.insert(new User(fields));
    const [listed] = await admin.user.list(new query.UserListQuery({ login: fields.login }));
    assert.deepEqual([listed.id, listed.role, listed.status, listed.data], [id, 1, 0, { a: 1 }]);
    assert.deepEqual(await admin.user.count(new query.UserCountQuery({ loginPattern: `${own}%` })), { count: 1 });
    await admin.user.update(new User({ id, data: { b: 2 }, introReviewed: true }));
    await admin.user.assignNetwork(id, network);
    const user = await admin.user.get(id);
    assert.deepEqual([user.data, user.introReviewed, user.networks.map(each => each.id)], [{ b: 2 }, true, [network]]);
    assert.equal((await admin.user.getNetwork(id, network)).network.id, network);
    await admin.user.unassignNetwork(id, network);
    await refused(admin.user.getNetwork(id, network), "was not found");
    await admin.user.assignNetwork(id, network);
    if (overHttp) {
        await admin.user.unassignAllDeviceTypes(id);
        assert.deepEqual(await admin.user.getDeviceTypes(id), []);
        await admin.user.assignDeviceType(id, type);
        assert.equal((await admin.user.getDeviceType(id, type)).deviceType.id, type);
        await admin.user.unassignDeviceType(id, type);
        await refused(admin.user.getDeviceType(id, type), "not found");
        await admin.user.assignAllDeviceTypes(id);
        assert.ok((await admin.user.getDeviceTypes(id)).length >= 9);
    }
    const current = await admin.user.getCurrent();
    assert.equal(current.login, login);
    await admin.user.updateCurrent(new User({ data: current.data, introReviewed: current.introReviewed }));
    await refused(admin.user.insert(new User(fields)), "User with such login already exists");
    return id;
}

async function configurations(admin) {
    const name = `${own}.configuration`;
    const put = await admin.configuration.put(new Configuration({ name, value: "a b&c=ü" }));
    assert.deepEqual([put.name, put.value], [name, "a b&c=ü"]);
    assert.equal((await admin.configuration.get(name)).value, "a b&c=ü");
    await admin.configuration.delete(name);
    await refused(admin.configuration.get(name), "not found");
}

async function devices(admin, id, networkId, deviceTypeId) {
    const device = { id, name: "Lamp ü", data: { a: [1, null] }, networkId, deviceTypeId, isBlocked: false };
    await admin.device.add(new Device({ id, name: "first", networkId, deviceTypeId }));
    await admin.device.add(new Device(device));
    assert.deepEqual(await admin.device.get(id), device);
    assert.deepEqual(await admin.device.list(new query.DeviceListQuery({ networkId, sortField: "name" })), [device]);
    assert.deepEqual(await admin.device.count(new query.DeviceCountQuery({ name: device.name, networkId })), { count: 1 });
    assert.equal((await admin.network.get(networkId)).devices[0].id, id);
    await refused(admin.device.get(`${id}-none`), "not found");
}

async function tokens(admin, userId) {
    const made = await admin.token.createUserToken(new UserToken({
        userId, actions: ["GetDevice"], networkIds: ["*"], deviceTypeIds: ["*"], expiration: "2100-01-01T00:00:00",
    }));
    assert.ok((await admin.token.refresh(made.refreshToken)).accessToken);
    assert.ok((await admin.token.login(login, password)).refreshToken);
    const narrow = await connect({ accessToken: made.accessToken }, { autoUpdateSession: false });
    assert.ok(Array.isArray(await narrow.device.list()));
    await refused(narrow.user.getCurrent(), "Access is denied");
    narrow.disconnect();
    const refreshing = await connect({ refreshToken: made.refreshToken }, { autoUpdateSession: false });
    assert.ok(Array.isArray(await refreshing.device.list()));
    refreshing.disconnect();
    await refused(connect({ login, password: "wrong" }), "Invalid credentials");
}

async function commands(admin, deviceId, networkIds) {
    const { serverTimestamp: timestamp } = await admin.info.getServerInfo();
    const { subscriptionId } = await admin.command.subscribe(
        new query.CommandPollQuery({ deviceId, names: ["on"], timestamp, limit: 100 }));
    const updates = overHttp ? null : await admin.command.subscribe(
        new query.CommandPollQuery({ deviceId, returnUpdatedCommands: true }));
    await admin.command.insert(deviceId, new Command({ command: "off" }));
    const sent = { command: "on", parameters: { level: 3 }, lifetime: 0, status: "new" };
    const inserted = await admin.command.insert(deviceId, new Command(sent));
    assert.deepEqual(Object.keys(inserted), ["id", "timestamp", "lastUpdated", "userId"]);
    const pushed = await heard(admin, message => message.command === "on" && message.result === null);
    assert.deepEqual([pushed.id, pushed.subscriptionId, pushed.parameters], [inserted.id, subscriptionId, { level: 3 }]);
    assert.equal(admin.got.length, 1);
    const waiting = overHttp
        ? admin.command.wait(deviceId, inserted.id, new query.CommandWaitQuery({ waitTimeout: 30 })) : null;
    await admin.command.update(new Command({ ...pushed, status: "done", result: { took: 1.5 } }));
    if (overHttp) {
        assert.deepEqual((await waiting).result, { took: 1.5 });
        const stored = await admin.command.poll(new query.CommandPollQuery({ deviceId, timestamp, waitTimeout: 0 }));
        assert.deepEqual(stored.map(each => each.command), ["off", "on"]);
        const names = ["on", "off"];
        const many = new query.CommandPollManyQuery({ networkIds, names, timestamp, waitTimeout: 0 });
        assert.deepEqual((await admin.command.pollMany(many)).map(each => each.command), ["off", "on"]);
    } else {
        const updated = await heard(admin, message => message.status === "done");
        assert.deepEqual([updated.subscriptionId, updated.result], [updates.subscriptionId, { took: 1.5 }]);
        await admin.command.unsubscribe(updates.subscriptionId);
    }
    await admin.command.unsubscribe(subscriptionId);
    assert.equal((await admin.command.get(deviceId, inserted.id)).status, "done");
    const listed = await admin.command.list(new query.CommandListQuery({ deviceId, status: "done", take: 5 }));
    assert.deepEqual(listed.map(each => each.id), [inserted.id]);
    await refused(admin.command.get(deviceId, 1), "not found");
}

async function notifications(admin, deviceId, networkIds) {
    const { serverTimestamp: timestamp } = await admin.info.getServerInfo();
    const asked = { deviceId, names: ["temperature"], timestamp };
    const { subscriptionId } = await admin.notification.subscribe(new query.NotificationPollQuery(asked));
    const sent = { notification: "temperature", parameters: { t: 20.5 }, timestamp: "2000-01-01T00:00:00.000" };
    await admin.notification.insert(deviceId, new Notification({ notification: "other" }));
    const inserted = await admin.notification.insert(deviceId, new Notification({ ...sent, timestamp: undefined }));
    assert.deepEqual(Object.keys(inserted), ["id", "timestamp"]);
    const pushed = await heard(admin, message => message.notification === "temperature");
    assert.deepEqual([pushed.id, pushed.subscriptionId, pushed.parameters], [inserted.id, subscriptionId, { t: 20.5 }]);
    if (overHttp) {
        const stored = await admin.notification.poll(new query.NotificationPollQuery({ ...asked, waitTimeout: 0 }));
        assert.deepEqual(stored.map(each => each.id), [inserted.id]);
        const names = ["temperature", "other"];
        const many = new query.NotificationPollManyQuery({ networkIds, names, timestamp, waitTimeout: 0 });
        assert.deepEqual((await admin.notification.pollMany(many)).map(each => each.notification), ["other", "temperature"]);
    }
    await admin.notification.unsubscribe(subscriptionId);
    assert.equal((await admin.notification.get(deviceId, inserted.id)).notification, "temperature");
    await admin.notification.insert(deviceId, new Notification(sent));
    const listed = await admin.notification.list(
        new query.NotificationListQuery({ deviceId, notification: "temperature", sortField: "timestamp", sortOrder: "ASC" }));
    assert.deepEqual(listed.map(each => each.timestamp), [sent.timestamp, inserted.timestamp]);
}

async function asClient(admin, userId, network, deviceId, elsewhere) {
    const client = await connect({ login: `${own}-user`, password: "a password" });
    assert.deepEqual((await client.network.list()).map(each => each.id), [network]);
    assert.equal((await client.network.get(network)).devices[0].id, deviceId);
    assert.deepEqual((await client.device.list()).map(each => each.id), [deviceId]);
    assert.deepEqual(await client.device.count(), { count: 1 });
    assert.ok((await client.deviceType.list()).length >= 9);
    assert.equal((await client.user.getCurrent()).id, userId);
    await client.user.updateCurrent(new User({ data: { mine: true } }));
    const denied = [
        client.network.insert(new Network({ name: `${own}-denied` })), client.user.list(), client.device.get(elsewhere),
        client.command.insert(elsewhere, new Command({ command: "on" })), client.configuration.get("any"),
        client.notification.list(new query.NotificationListQuery({ deviceId: elsewhere })),
        client.network.get(1),
    ];
    await Promise.all(denied.map(each => refused(each, "Access is denied")));
    await refused(client.device.add(new Device({ id: elsewhere, name: "mine" })), "No access to device");
    // All that it reaches: what happens elsewhere is not among it.
    const { serverTimestamp: timestamp } = await client.info.getServerInfo();
    await client.notification.subscribe(new query.NotificationPollQuery({ timestamp }));
    await client.command.subscribe(new query.CommandPollQuery({ timestamp }));
    await admin.notification.insert(elsewhere, new Notification({ notification: "elsewhere" }));
    await admin.notification.insert(deviceId, new Notification({ notification: "here" }));
    await admin.command.insert(deviceId, new Command({ command: "for you" }));
    await heard(client, message => message.notification === "here");
    const command = await heard(client, message => message.command === "for you");
    await client.command.update(new Command({ ...command, status: "obeyed" }));
    assert.equal((await admin.command.get(deviceId, command.id)).status, "obeyed");
    assert.deepEqual(client.got.map(each => each.notification || each.command).sort(), ["for you", "here"]);
    await client.device.add(new Device({ id: `${own}-mine`, name: "mine" }));
    assert.equal((await client.device.get(`${own}-mine`)).networkId, network);
    await client.device.delete(`${own}-mine`);
    client.disconnect();
}

(async () => {
    const admin = await connect({ login, password });
    assert.ok((await admin.info.getServerInfo()).apiVersion);
    assert.ok((await admin.info.getClusterInfo())["bootstrap.servers"]);
    if (overHttp) assert.ok((await admin.info.getCacheInfo()).serverTimestamp);
    const network = await groups(admin, admin.network, "Network", Network, `${own}-network`);
    const type = await groups(admin, admin.deviceType, "DeviceType", DeviceType, `${own}-type`);
    const [user, device, elsewhere] = [await users(admin, network, type), `${own}-device`, `${own}-elsewhere`];
    await configurations(admin);
    await devices(admin, device, network, type);
    await admin.device.add(new Device({ id: elsewhere, name: "elsewhere", networkId: 1 }));
    await tokens(admin, user);
    await commands(admin, device, [network]);
    await notifications(admin, device, [network]);
    await asClient(admin, user, network, device, elsewhere);
    await refused(admin.network.delete(new query.NetworkDeleteQuery({ networkId: network })), "delete them first");
    await admin.device.delete(elsewhere);
    await admin.network.delete(new query.NetworkDeleteQuery({ networkId: network, force: true }));
    await refused(admin.device.get(device), "not found");
    await admin.deviceType.delete(new query.DeviceTypeDeleteQuery({ deviceTypeId: type, force: true }));
    await admin.user.delete(user);
    await refused(admin.user.get(user), "not found");
    const all = NOUNS.flatMap(noun => Object.getOwnPropertyNames(Object.getPrototypeOf(admin[noun]))
        .filter(name => name !== "constructor").map(name => `${noun}.${name}`));
    console.log(JSON.stringify({ called: [...called].sort(), all: all.sort() }));
    admin.disconnect();
    process.exit(0);
})().catch(error => { console.error(error); process.exit(1); });
