import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.net.http.WebSocket;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.LinkedBlockingQueue;

/**
 * HTTP and WebSocket with the JDK's HttpClient as it is by default.
 *
 * HTTP: standard input has METHOD PATH BODY on each line; printed are the status and body of each. WebSocket: each
 * line has a number and a message; printed are as many messages as the number says, and at last the close code.
 */
public class Client {
    public static void main(String[] arguments) throws Exception {
        var input = new BufferedReader(new InputStreamReader(System.in));
        if (arguments.length > 1) http(arguments[0], arguments[1], input);
        else websocket(arguments[0], input);
    }

    static void http(String base, String token, BufferedReader input) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        for (String line; (line = input.readLine()) != null;) {
            String[] parts = line.split(" ", 3);
            var request = HttpRequest.newBuilder(URI.create(base + parts[1])).header("Authorization", "Bearer " + token);
            if (parts[2].isEmpty()) request.method(parts[0], BodyPublishers.noBody());
            else request.header("Content-Type", "application/json").method(parts[0], BodyPublishers.ofString(parts[2]));
            HttpResponse<String> answer = client.send(request.build(), BodyHandlers.ofString());
            System.out.println(answer.statusCode() + " " + answer.body());
        }
    }

    static void websocket(String url, BufferedReader input) throws Exception {
        var received = new LinkedBlockingQueue<String>();
        var closed = new CompletableFuture<Integer>();
        var listener = new WebSocket.Listener() {
            private final StringBuilder message = new StringBuilder();

            public CompletionStage<?> onText(WebSocket socket, CharSequence data, boolean last) {
                message.append(data);
                if (last) {
                    received.add(message.toString());
                    message.setLength(0);
                }
                socket.request(1);
                return null;
            }

            public CompletionStage<?> onClose(WebSocket socket, int code, String reason) {
                closed.complete(code);
                return null;
            }
        };
        WebSocket socket = HttpClient.newHttpClient().newWebSocketBuilder().buildAsync(URI.create(url), listener).join();
        for (String line; (line = input.readLine()) != null;) {
            String[] parts = line.split(" ", 2);
            socket.sendText(parts[1], true).join();
            for (int count = Integer.parseInt(parts[0]); count > 0; count--) System.out.println(received.take());
        }
        socket.sendClose(WebSocket.NORMAL_CLOSURE, "").join();
        System.out.println(closed.join());
        System.exit(0);
    }
}
