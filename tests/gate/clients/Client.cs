using System;
using System.IO;
using System.Net.Http;
using System.Net.Http.Headers;
using System.Net.WebSockets;
using System.Text;
using System.Threading;
using System.Threading.Tasks;

/// <summary>
/// HTTP and WebSocket with .NET's HttpClient and ClientWebSocket as they are by default.
///
/// HTTP: standard input has METHOD PATH BODY on each line; printed are the status and body of each. WebSocket: each
/// line has a number and a message; printed are as many messages as the number says, and at last the close code.
/// </summary>
class Client
{
    static readonly TextReader Input = new StreamReader(Console.OpenStandardInput(), new UTF8Encoding(false));

    static readonly TextWriter Output =
        new StreamWriter(Console.OpenStandardOutput(), new UTF8Encoding(false)) { AutoFlush = true };

    static void Main(string[] arguments)
    {
        (arguments.Length > 1 ? Http(arguments[0], arguments[1]) : Socket(arguments[0])).GetAwaiter().GetResult();
    }

    static async Task Http(string address, string token)
    {
        using (var client = new HttpClient())
        {
            client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", token);
            for (string line; (line = Input.ReadLine()) != null;)
            {
                var parts = line.Split(new[] { ' ' }, 3);
                var request = new HttpRequestMessage(new HttpMethod(parts[0]), address + parts[1]);
                if (parts[2].Length > 0) request.Content = new StringContent(parts[2], Encoding.UTF8, "application/json");
                var answer = await client.SendAsync(request);
                Output.WriteLine((int)answer.StatusCode + " " + await answer.Content.ReadAsStringAsync());
            }
        }
    }

    static async Task Socket(string address)
    {
        var none = CancellationToken.None;
        using (var socket = new ClientWebSocket())
        {
            await socket.ConnectAsync(new Uri(address), none);
            for (string line; (line = Input.ReadLine()) != null;)
            {
                var parts = line.Split(new[] { ' ' }, 2);
                var message = new ArraySegment<byte>(Encoding.UTF8.GetBytes(parts[1]));
                await socket.SendAsync(message, WebSocketMessageType.Text, true, none);
                for (var count = int.Parse(parts[0]); count > 0; count--) Output.WriteLine(await Received(socket));
            }
            await socket.CloseAsync(WebSocketCloseStatus.NormalClosure, "", none);
            Output.WriteLine((int)socket.CloseStatus);
        }
    }

    static async Task<string> Received(ClientWebSocket socket)
    {
        var buffer = new ArraySegment<byte>(new byte[1 << 16]);
        using (var message = new MemoryStream())
        {
            WebSocketReceiveResult part;
            do
            {
                part = await socket.ReceiveAsync(buffer, CancellationToken.None);
                message.Write(buffer.Array, 0, part.Count);
            } while (!part.EndOfMessage);
            return Encoding.UTF8.GetString(message.ToArray());
        }
    }
}
