import java.net.InetAddress;
import java.net.UnknownHostException;
import java.util.Arrays;
import java.util.stream.Collectors;

/** Looks each argument up as Java programs do: `NAME ADDRESSES MILLISECONDS`, a line each; `-` where there is no such name. */
public class Resolve {
    public static void main(String[] names) {
        for (String name : names) {
            long begun = System.nanoTime();
            String found;
            try {
                InetAddress[] addresses = InetAddress.getAllByName(name);
                found = Arrays.stream(addresses).map(InetAddress::getHostAddress).collect(Collectors.joining(","));
            } catch (UnknownHostException fault) {
                found = fault.getMessage().contains("Temporary") ? "fault:temporary" : "-";
            }
            System.out.println(name + " " + found + " " + (System.nanoTime() - begun) / 1_000_000);
        }
    }
}
